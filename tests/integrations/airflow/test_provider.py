"""What Airflow itself finds of us: the provider, its connection form, plugin and configuration."""

import json
from importlib.resources import files

import jsonschema
from airflow._shared.module_loading import import_string
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager

from pushgate_airflow.get_provider_info import FIELDS, get_provider_info


def test_the_description_is_as_both_of_airflows_schemas_want_it():
    info = get_provider_info()
    schemas = files("airflow")
    whole = json.loads(schemas.joinpath("provider.yaml.schema.json").read_text())

    jsonschema.validate(info, json.loads(schemas.joinpath("provider_info.schema.json").read_text()))
    for name, value in info.items():
        schema = {**whole["properties"][name], "definitions": whole.get("definitions", {})}
        jsonschema.validate(value, schema)


def test_everything_that_the_description_names_can_be_imported():
    info = get_provider_info()
    modules = [m for kind in ("hooks", "operators") for m in info[kind][0]["python-modules"]]
    classes = [
        *info["notifications"],
        *(plugin["plugin-class"] for plugin in info["plugins"]),
        *(kind["hook-class-name"] for kind in info["connection-types"]),
    ]

    assert all(__import__(module) for module in modules)
    assert all(isinstance(import_string(name), type) for name in classes)


def test_each_option_is_described_and_has_the_default_that_holds():
    options = get_provider_info()["config"]["pushgate"]["options"]

    assert options["deadline"]["default"] == "3.0"
    assert options["listener_allow"]["default"] == "*"
    assert options["gateway"]["default"] is None
    assert options["gateway"]["sensitive"]


def test_airflow_shows_the_form_without_importing_what_it_has_not_installed():
    manager = ProvidersManager()

    assert "pushgate" in manager.providers
    hook = manager.hooks["pushgateway"]
    assert hook is not None
    assert hook.hook_class_name == "pushgate_airflow.hook.PushgatewayHook"
    assert hook.connection_id_attribute_name == "pushgateway_conn_id"
    assert hook.connection_testable
    (meta,) = [m for m in HookMetaService.hook_meta_data() if m.connection_type == "pushgateway"]
    assert set(meta.extra_fields or {}) == set(FIELDS)
    assert meta.standard_fields is not None
    assert meta.standard_fields.url_schema is not None
    assert meta.standard_fields.url_schema.title == "http or https"
