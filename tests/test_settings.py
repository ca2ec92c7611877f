"""Each setting comes from the right place, and secrets from nowhere but where they may stand."""

import os
import subprocess
import sys

import pytest

from pushgate import (
    OptionSource,
    RateLimitedLogger,
    Settings,
    SettingsError,
    child_environment,
    parse_duration,
    read_options,
    readers,
    state_directory,
)


@pytest.fixture
def home(tmp_path):
    """A home with the start of a configuration; ``load`` is meant to be given its ``HOME``."""
    (tmp_path / ".config" / "pushgate").mkdir(parents=True)
    return tmp_path


def config(home, text):
    path = home / ".config" / "pushgate" / "config.toml"
    path.write_text(text)
    return str(path)


def load(flags=None, *, home=None, system_file="/nonexistent/config.toml", **environ):
    variables = {**({"HOME": str(home)} if home else {}), **environ}
    return Settings.load(flags or {}, variables, system_file=system_file)


def test_the_first_source_that_has_a_setting_wins(home):
    path = config(home, 'gateway = "from-file:1"\ntimeout = "2m"\nretries = 7')
    wild = {"PROMETHEUS_PUSHGATEWAY": "d:1"}
    sources = [
        (f"{path}: gateway", "http://from-file:1", {}, {}),
        ("PROMETHEUS_PUSHGATEWAY", "http://d:1", {}, wild),
        ("PROMETHEUS_PUSHGATEWAY_URL", "http://c:1", {}, {"PROMETHEUS_PUSHGATEWAY_URL": "c:1"}),
        ("PUSHGATEWAY_URL", "http://b:1", {}, {"PUSHGATEWAY_URL": "b:1"}),
        ("PUSHGATE_GATEWAY", "http://a:1", {}, {"PUSHGATE_GATEWAY": "a:1"}),
        ("--gateway", "http://flag:1", {"gateway": "flag:1"}, {}),
    ]
    flags, environ = {}, {}
    for origin, url, more_flags, more_environ in sources:
        flags |= more_flags
        environ |= more_environ
        settings = load(flags, home=home, **environ)
        assert (settings.gateway, settings.origins["gateway"]) == (url, origin)
        # Settings come from sources one by one: the file still gives what the others leave out.
        assert (settings.timeout, settings.retries) == (120, 7)
        assert settings.origins["timeout"] == f"{path}: timeout"


def test_an_empty_variable_is_not_set():
    assert load(PUSHGATE_GATEWAY="", PUSHGATEWAY_URL="b:1").gateway == "http://b:1"
    assert load(PUSHGATE_GATEWAY=" http://b:1\r").gateway == "http://b:1"


def test_the_file_is_the_named_one_else_the_users_else_the_systems(home, tmp_path):
    system = tmp_path / "system.toml"
    system.write_text('gateway = "system"')
    named, xdg = tmp_path / "named.toml", tmp_path / "xdg"
    named.write_text('gateway = "named"')
    places = {"home": home, "system_file": str(system)}

    assert load(**places).gateway == "http://system"
    config(home, 'gateway = "user"')
    assert load(**places).gateway == "http://user"
    (xdg / "pushgate").mkdir(parents=True)
    (xdg / "pushgate" / "config.toml").write_text('gateway = "xdg"')
    assert load(**places, XDG_CONFIG_HOME=str(xdg)).gateway == "http://xdg"
    assert load(**places, PUSHGATE_CONFIG=str(named)).gateway == "http://named"
    assert load({"config": str(named)}, PUSHGATE_CONFIG="/nope").gateway == "http://named"
    with pytest.raises(SettingsError, match="PUSHGATE_CONFIG: there is no file '/nope'"):
        load(PUSHGATE_CONFIG="/nope")


def test_nothing_is_read_from_the_current_directory(tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "pushgate", tmp_path / ".config" / "pushgate"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text('gateway = "http://evil"')
    monkeypatch.chdir(tmp_path)
    for environ in ({}, {"HOME": ""}, {"HOME": "."}, {"XDG_CONFIG_HOME": "."}):
        assert load(**environ).gateway is None


def test_secrets_are_read_from_files_and_lose_their_line_break(home):
    (home / "secret").write_text("s3cret\r\n")
    (home / ".config" / "pushgate" / "beside").write_text("pass word \n")
    assert load(PUSHGATE_TOKEN=f"file:{home}/secret").token == "s3cret"
    assert load(home=home, PUSHGATE_TOKEN="file:~/secret").token == "s3cret"
    config(home, 'username = "u"\npassword = "file:beside"')
    assert load(home=home).password == "pass word "
    headers = load({"headers": [f"X-Api-Key: file:{home}/secret"]}).headers
    assert headers == (("X-Api-Key", "s3cret"),)


@pytest.mark.parametrize(
    "text",
    [
        'username = "u"\npassword = "hunter2"',
        'token = "hunter2"',
        'gateway = "https://u:hunter2@host"',
        'headers = {Authorization = "Bearer hunter2"}',
        'headers = {X-Api-Key = "hunter2"}',
    ],
)
def test_a_secret_in_the_file_is_refused_with_what_to_do_instead(home, text):
    path = config(home, text)
    with pytest.raises(SettingsError) as caught:
        load(home=home)
    assert str(caught.value).startswith(path)
    assert "file:/path" in str(caught.value)
    assert "PUSHGATE_" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_in_the_arguments_is_refused():
    for flags in ({"gateway": "u:hunter2@host"}, {"headers": ["Authorization: hunter2"]}):
        with pytest.raises(SettingsError, match="does not belong here") as caught:
            load(flags)
        assert "hunter2" not in str(caught.value)


def test_a_typo_in_the_file_is_an_error_with_the_likely_name(home):
    path = config(home, 'gatway = "host"')
    with pytest.raises(SettingsError, match="did you mean 'gateway'") as caught:
        load(home=home)
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "environ", "text", "named"),
    [
        ({"timeout": "5x"}, {}, "", "--timeout: '5x'"),
        ({"timeout": "0"}, {}, "", "--timeout: '0'"),
        ({"insecure_skip_verify": "maybe"}, {}, "", "--insecure: 'maybe'"),
        ({}, {"PUSHGATE_COMPRESSION": "zip"}, "", "PUSHGATE_COMPRESSION: 'zip'"),
        ({}, {"PUSHGATE_RETRIES": "-1"}, "", "PUSHGATE_RETRIES: '-1'"),
        ({}, {"PUSHGATEWAY_URL": "ftp://host"}, "", "PUSHGATEWAY_URL: .*http"),
        ({}, {"PUSHGATE_GATEWAY": "h/metrics/job/x"}, "", "PUSHGATE_GATEWAY: .*group"),
        ({}, {"PUSHGATE_TOKEN": "file:/dev/zero"}, "", "PUSHGATE_TOKEN: .*holds more than 1048576"),
        ({}, {"PUSHGATE_CONFIG": "/dev/zero"}, "", "PUSHGATE_CONFIG: .*holds more than 1048576"),
        ({}, {"PUSHGATE_TOKEN": "file:/nope"}, "", "PUSHGATE_TOKEN: .*'/nope'.*No such file"),
        ({}, {}, "timeout = true", "config.toml: timeout: 'True'"),
        ({}, {}, "gateway = 5", "config.toml: gateway: "),
        ({}, {}, "gateway = x", "config.toml is not valid TOML: .*line 1"),
    ],
)
def test_an_invalid_value_names_the_setting_and_its_source(home, flags, environ, text, named):
    config(home, text)
    with pytest.raises(SettingsError, match=named):
        load(flags, home=home, **environ)


@pytest.mark.parametrize(
    "environ",
    [
        {"PUSHGATE_TOKEN": "hun ter2"},
        {"PUSHGATE_HEADERS": "hun ter2"},
        {"PUSHGATE_HEADERS": "X-Key: hun\x00ter2"},
        {"PUSHGATE_USERNAME": "u", "PUSHGATE_PASSWORD": "hun ter2\udcff"},
        {"PUSHGATE_GATEWAY": "http://u:hun/ter2@host"},
        {"PUSHGATE_GATEWAY": "http://u:12/hun ter2@host"},
        {"PUSHGATE_GATEWAY": "http://u:12/ter2@host"},
        {"PUSHGATE_GATEWAY": "http://u:hun?ter2@host"},
        {"PUSHGATE_GATEWAY": "u:hun://ter2@host"},
    ],
)
def test_no_error_holds_a_secret(environ):
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


def test_printing_settings_shows_no_secret():
    assert "hunter2" not in repr(load(PUSHGATE_GATEWAY="http://u:hunter2@host"))
    settings = load(
        PUSHGATE_USERNAME="u", PUSHGATE_PASSWORD="hunter2", PUSHGATE_HEADERS="K: hunter2"
    )
    assert "hunter2" not in f"{settings} {settings!r}"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"PUSHGATE_TOKEN": "t", "PUSHGATEWAY_USERNAME": "u"}, "PUSHGATE_TOKEN.*PUSHGATEWAY_USER"),
        ({"PUSHGATE_TOKEN": "t", "PUSHGATE_PASSWORD": "p"}, "PUSHGATE_TOKEN.*PUSHGATE_PASSWORD"),
        ({"PUSHGATE_TOKEN": "t", "PUSHGATEWAY_URL": "u:p@h"}, "PUSHGATE_TOKEN.*PUSHGATEWAY_URL"),
        ({"PUSHGATE_TOKEN": "t", "PUSHGATE_HEADERS": "authorization: x"}, "PUSHGATE_HEADERS"),
        ({"PUSHGATEWAY_URL": "u:p@h", "PUSHGATE_PASSWORD": "q"}, "PUSHGATE_PASSWORD.*URL"),
        ({"PUSHGATE_PASSWORD": "p"}, "PUSHGATE_PASSWORD.*no user name"),
        ({"PUSHGATE_USERNAME": "u"}, "PUSHGATE_USERNAME.*no password"),
        ({"PUSHGATE_KEYFILE": "k"}, "PUSHGATE_KEYFILE.*certfile"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ, named):
    with pytest.raises(SettingsError, match=named):
        load(**environ)


@pytest.mark.parametrize(
    ("environ", "authorization"),
    [
        ({"PUSHGATE_TOKEN": "t0k"}, "Bearer t0k"),
        ({"PUSHGATE_USERNAME": "me", "PUSHGATEWAY_PASSWORD": "pw"}, "Basic bWU6cHc="),
        ({"user": "me:pw@"}, "Basic bWU6cHc="),
        ({"user": "me@", "PUSHGATE_PASSWORD": "pw"}, "Basic bWU6cHc="),
    ],
)
def test_the_gateway_is_reached_with_everything_that_is_set(httpserver, environ, authorization):
    url = f"http://{environ.pop('user', '')}{httpserver.host}:{httpserver.port}"
    headers = {"Authorization": authorization, "X-Scope-OrgID": "a: b", "X-Two": "2"}
    httpserver.expect_oneshot_request(
        "/metrics/job/j", headers={**headers, "Content-Encoding": "gzip"}
    ).respond_with_data("", status=307, headers={"Location": "/there"})
    httpserver.expect_oneshot_request("/there", headers=headers).respond_with_data("", status=200)
    settings = load(
        PUSHGATE_GATEWAY=url,
        PUSHGATE_HEADERS="X-Scope-OrgID: a: b\nX-Two: 2\n",
        PUSHGATE_REDIRECTS="1",
        PUSHGATE_RETRIES="0",
        PUSHGATE_COMPRESSION="GZIP",
        **environ,
    )
    settings.to_gateway().pushadd("j", [])
    httpserver.check_assertions()


def test_tls_files_beside_the_configuration_are_found(home):
    config(home, 'gateway = "https://h"\ncafile = "ca.pem"\ninsecure_skip_verify = true')
    settings = load(home=home)
    assert settings.cafile == str(home / ".config" / "pushgate" / "ca.pem")
    assert settings.insecure_skip_verify
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        settings.to_gateway().pushadd("j", [])


def test_without_a_gateway_the_error_lists_the_ways_to_set_one():
    with pytest.raises(SettingsError, match="no gateway") as caught:
        load().to_gateway()
    for way in ("--gateway", "PUSHGATE_GATEWAY", "~/.config/pushgate/config.toml", "/etc/pushgate"):
        assert way in str(caught.value)


def test_a_wrapped_command_gets_the_environment_without_our_secrets_and_otherwise_as_it_is():
    environ = {
        "PATH": "/bin",
        "PUSHGATE_PASSWORD": "hunter2",
        "PUSHGATE_TOKEN": "file:/run/token",
        "PUSHGATEWAY_PASSWORD": "hunter2",
        "PUSHGATE_HEADERS": "X-Api-Key: hunter2",
        "PUSHGATE_USERNAME": "me",
        "PUSHGATE_GATEWAY": "http://me:hunter2@host:9091/base",
        # Other tools read these as well, perhaps the command does.
        "PUSHGATEWAY_URL": "me:hun/ter2@host",
        "PROMETHEUS_PUSHGATEWAY": "me:http://hunter2@host",
        "PROMETHEUS_PUSHGATEWAY_URL": "https://host/",
    }
    before = dict(environ)
    assert child_environment(environ) == {
        "PATH": "/bin",
        "PUSHGATE_TOKEN": "file:/run/token",
        "PUSHGATE_USERNAME": "me",
        "PUSHGATE_GATEWAY": "http://host:9091/base",
        "PUSHGATEWAY_PASSWORD": "hunter2",
        "PUSHGATEWAY_URL": "me:hun/ter2@host",
        "PROMETHEUS_PUSHGATEWAY": "me:http://hunter2@host",
        "PROMETHEUS_PUSHGATEWAY_URL": "https://host/",
    }
    assert environ == before


@pytest.mark.parametrize(
    ("url", "passed_on"),
    [
        ("me:hun/ter2@host", "host"),
        ("me:http://hunter2@host", "host"),
        ("https://me:hunter2@host/base", "https://host/base"),
        ("https://host/", "https://host/"),
    ],
)
def test_a_wrapped_command_gets_the_gateway_without_a_user(url, passed_on):
    assert child_environment({"PUSHGATE_GATEWAY": url}) == {"PUSHGATE_GATEWAY": passed_on}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("2.5", 2.5), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("0", 0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "s", ".", "-1", "+1", "1 s", " 1", "1_0", "1e3", "nan", "inf", "1w", "٣", "36501d"],
)
def test_what_is_not_a_duration_is_refused_with_the_ways_to_write_one(text):
    with pytest.raises(ValueError, match="90s, 15m, 2h, 1d"):
        parse_duration(text)


def test_loading_settings_without_a_file_imports_nothing_heavy():
    code = (
        "import sys; from pushgate import Settings;"
        "Settings.load({}, {'PUSHGATE_GATEWAY': 'h', 'PUSHGATE_TIMEOUT': '5'});"
        "heavy = 'dataclasses ssl socket http.client urllib.request tomllib prometheus_client';"
        "print(*set(heavy.split()) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_utf8_names_and_protobuf_are_switches():
    assert load()[-3:-1] == (False, True)
    settings = load({"gateway": "g:1"}, PUSHGATE_UTF8_NAMES="yes", PUSHGATE_PROTOBUF="off")
    assert (settings.utf8_names, settings.protobuf) == (True, False)
    assert settings.to_gateway().utf8_names
    with pytest.raises(SettingsError, match="PUSHGATE_PROTOBUF: 'maybe' is neither"):
        load(PUSHGATE_PROTOBUF="maybe")


def test_a_header_that_each_request_sets_itself_is_refused():
    with pytest.raises(SettingsError, match="PUSHGATE_HEADERS: the header 'Host' is one"):
        load(PUSHGATE_HEADERS="X-A: b\nHost: other")


def test_the_outbox_is_in_the_state_directory_or_where_it_is_set_or_nowhere(
    home, tmp_path, monkeypatch
):
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))
    assert load().to_outbox().path == str(tmp_path / "state" / "outbox")
    assert load(PUSHGATE_OUTBOX="/x/y").to_outbox().path == "/x/y"
    assert load(home=home, PUSHGATE_OUTBOX="~/y").to_outbox().path == f"{home}/y"
    config(home, "outbox = false")
    assert load(home=home).to_outbox() is None
    assert load({"outbox": "off"}).to_outbox() is None
    config(home, 'outbox = "box"')
    assert load(home=home).to_outbox().path == f"{home}/.config/pushgate/box"
    assert not list((tmp_path / "state").glob("*"))


@pytest.mark.parametrize(
    ("directories", "state"),
    [
        ("/var/lib/backup", "/var/lib/backup/pushgate"),
        ("/var/lib/backup:/var/lib/other", "/var/lib/backup/pushgate"),
        ("backup", "/xdg/pushgate"),
        ("", "/xdg/pushgate"),
    ],
)
def test_a_systemd_unit_has_its_state_in_its_state_directory(directories, state):
    environ = {"STATE_DIRECTORY": directories, "XDG_STATE_HOME": "/xdg"}
    assert state_directory(environ) == state
    assert state_directory({**environ, "PUSHGATE_STATE_DIR": "/ours"}) == "/ours"
    assert state_directory({**environ, "PUSHGATE_STATE_DIR": "~/x"}) == os.path.expanduser("~/x")


def test_without_a_home_there_is_no_outbox_and_that_is_said(monkeypatch):
    for name in ("PUSHGATE_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    said = []
    assert load().to_outbox(RateLimitedLogger(said.append)) is None
    assert "set PUSHGATE_OUTBOX" in said[0]


def interval(value, _source):
    if (seconds := readers.duration(value)) < 0.05:
        raise ValueError(f"{value!r} is too short")
    return seconds


TABLE = {
    "job": readers.job,
    "transport": readers.choice("pipe", "inline"),
    "interval": interval,
    "size": readers.count(least=10, most=99),
    "tasks": readers.names,
    "token": readers.token,
}


def test_an_adapter_reads_its_options_by_a_table():
    given = OptionSource({"interval": "1m", "transport": None})
    conf = OptionSource(
        {"interval": 5, "transport": "Inline", "tasks": "a.*, b"}, lambda name: f"[x] {name}"
    )
    assert read_options(TABLE, given, conf) == (
        {"interval": 60.0, "transport": "inline", "tasks": ("a.*", "b")},
        {"interval": "interval", "transport": "[x] transport", "tasks": "[x] tasks"},
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"intervall": 1}, "x_intervall: there is no such option; did you mean 'interval'?"),
        ({"zzz": 1}, "x_zzz: there is no such option; there are job, transport"),
        ({"interval": 0}, "x_interval: 0 is too short"),
        ({"interval": True}, "x_interval: 'True' is not a duration"),
        ({"transport": "mail"}, "x_transport: 'mail' is not one of pipe, inline"),
        ({"size": 9}, "x_size: 9 is not a whole number from 10 to 99"),
        ({"job": ""}, "x_job: it is empty"),
        ({"tasks": [1]}, "x_tasks: "),
    ],
)
def test_an_options_error_begins_with_its_label(values, words):
    with pytest.raises(SettingsError) as caught:
        read_options(TABLE, OptionSource(values, "x_{name}"))
    assert str(caught.value).startswith(words)


def test_a_pipe_is_read_where_somebody_writes_and_never_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(SettingsError, match="is empty"):
        load(PUSHGATE_TOKEN=f"file:{path}")
    reader, writer = os.pipe()  # as a shell's <(command)
    os.write(writer, b"s3cret\n")
    os.close(writer)
    assert load(PUSHGATE_TOKEN=f"file:/dev/fd/{reader}").token == "s3cret"
    os.close(reader)


def test_a_source_says_whether_secrets_may_stand_there_and_files_be_read(tmp_path):
    (tmp_path / "secret").write_text("s3cret")
    path = f"file:{tmp_path}/secret"
    assert read_options(TABLE, OptionSource({"token": path}))[0] == {"token": "s3cret"}
    literal = OptionSource({"token": path}, reads_files=False)
    assert read_options(TABLE, literal)[0] == {"token": path}
    with pytest.raises(SettingsError, match="does not belong here"):
        read_options(TABLE, OptionSource({"token": "t"}, holds_secrets=False))


def test_reading_options_imports_nothing_that_a_command_would_wait_for():
    code = """if True:
        import sys
        from pushgate import OptionSource, read_options, readers
        old = set(sys.modules)
        table = {"a": readers.duration, "b": readers.text}
        read_options(table, OptionSource({"a": "5m", "b": "x"}))
        print(*(set(sys.modules) - old), *(m for m in ("typing", "re", "os") if m in old))
    """
    bare = "import sys; print(*(m for m in ('typing', 're', 'os') if m in sys.modules))"
    ran = [
        subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
        for c in (code, bare)
    ]
    assert ran[0] == ran[1]
