// Draws a dashboard as one HTML page, at its panels' places: with Grafana's own data code (frames,
// transformations, overrides, units, mappings) on query results of a Prometheus, and simple shapes.
//
// GRAFANA_DATA=.../node_modules/@grafana/data node draw_panels.cjs dashboard.json out.html \
//     http://127.0.0.1:9090 NOW_SECONDS SPAN_SECONDS [open]
//
// "open" draws the panels of closed rows, too.

// @grafana/data expects a browser.
globalThis.window = globalThis.self = globalThis;
Object.defineProperty(globalThis, 'navigator', {
  value: { language: 'en-US', languages: ['en-US'], userAgent: 'x' }, configurable: true,
});
globalThis.localStorage = { getItem: () => null, setItem() {} };
globalThis.document = {
  createElement: () => ({ style: {}, getContext: () => null }), addEventListener() {},
  documentElement: { style: {} }, createTextNode: () => ({}), querySelector: () => null,
};
const grafana = require(process.env.GRAFANA_DATA || '@grafana/data');
const fs = require('fs');

const [, , dashboardFile, out, prometheus, nowText, spanText, open] = process.argv;
const NOW = +nowText, SPAN = +spanText, STEP = Math.max(60, Math.round(SPAN / 400));
const [COLUMN, LINE] = [60, 38]; // Grafana's grid in pixels, on a page of 1,440
const theme = grafana.createTheme({ colors: { mode: 'dark' } });
const color = (name) => theme.visualization.getColorByName(name);
const PALETTE = theme.visualization.palette;
grafana.standardTransformersRegistry.setInit(() =>
  [grafana.standardTransformers.mergeTransformer, grafana.standardTransformers.organizeFieldsTransformer]
    .map((t) => ({ id: t.id, name: t.name, transformation: t, editor: null, description: '' })));

// Relative times ("3 hours ago") are counted from the end of the data.
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) { given.length ? super(...given) : super(NOW * 1000); }
  static now() { return NOW * 1000; }
};

async function ask(kind, parameters) {
  const body = new URLSearchParams(parameters);
  const answer = await (await fetch(`${prometheus}/api/v1/${kind}`, { method: 'POST', body })).json();
  if (answer.status !== 'success') throw new Error(`${answer.error}: ${parameters.query}`);
  return answer.data.result;
}

const filled = (query) => query
  .replaceAll('$__rate_interval', '15m').replaceAll('$__range', `${SPAN}s`)
  .replaceAll('"$job"', '".+"').replace(/"\$[a-z_]+"/g, '".*"');
const number = (text) => (text === 'NaN' ? NaN : text.endsWith('Inf') ? Infinity : +text);
const escaped = (text) => String(text ?? '').replace(/&/g, '&amp;').replace(/</g, '&lt;');
const shown = (field, value) => {
  const d = field.display(value);
  return (d.prefix || '') + d.text + (d.suffix || '');
};

async function framesOf(panel) {
  const frames = [];
  for (const target of panel.targets) {
    const query = filled(target.expr);
    if (target.instant) {
      const found = await ask('query', { query, time: NOW });
      if (!found.length) continue;
      const labels = target.format === 'table'
        ? [...new Set(found.flatMap((s) => Object.keys(s.metric)))].sort() : [];
      const value = panel.targets.length > 1 ? `Value #${target.refId}` : 'Value';
      frames.push(grafana.toDataFrame({ refId: target.refId, fields: [
        { name: 'Time', type: 'time', values: found.map((s) => s.value[0] * 1000) },
        ...labels.map((l) => ({ name: l, type: 'string', values: found.map((s) => s.metric[l] ?? '') })),
        { name: value, type: 'number', values: found.map((s) => number(s.value[1])) },
      ] }));
      continue;
    }
    const range = { query, start: NOW - SPAN, end: NOW, step: STEP };
    for (const series of await ask('query_range', range)) {
      const legend = target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, l) => series.metric[l] ?? '');
      frames.push(grafana.toDataFrame({ refId: target.refId, fields: [
        { name: 'Time', type: 'time', values: series.values.map((v) => v[0] * 1000) },
        { name: 'Value', type: 'number', values: series.values.map((v) => number(v[1])),
          labels: series.metric, config: { displayNameFromDS: legend.replace(/ +/g, ' ').trim() } },
      ] }));
    }
  }
  if (!panel.transformations) return frames;
  return new Promise((done) => grafana.transformDataFrame(panel.transformations, frames).subscribe(done));
}

function configure(frames, config) {
  for (const frame of frames) for (const field of frame.fields) {
    const defaults = structuredClone(config.defaults);
    field.config = { ...defaults, ...field.config, custom: { ...defaults.custom } };
    const name = grafana.getFieldDisplayName(field, frame, frames);
    for (const { matcher, properties } of config.overrides) {
      if (matcher.options !== name) continue;
      for (const { id, value } of properties) {
        if (id.startsWith('custom.')) field.config.custom[id.slice(7)] = value;
        else field.config[id] = value;
      }
    }
    field.display = grafana.getDisplayProcessor({ field, theme, timeZone: 'utc' });
    field.state = {};
  }
}

function stat(frames) {
  const field = frames[0].fields.find((f) => f.type === 'number');
  const value = field.values[field.values.length - 1];
  const text = shown(field, value), size = Math.min(26, 165 / text.length);
  return `<div class=stat style="color:${field.display(value).color};font-size:${size}px">${escaped(text)}</div>`;
}

function table(frames, panel, height) {
  const frame = frames[0];
  const named = (name) => frame.fields.find((f) => grafana.getFieldDisplayName(f, frame, frames) === name);
  const rows = [...Array(frame.length).keys()];
  const keys = panel.options.sortBy.map(({ displayName, desc }) => [named(displayName), desc]);
  const isNothing = (x) => x === undefined || x === null || Number.isNaN(x);
  rows.sort((a, b) => {
    for (const [field, desc] of keys) {
      const [x, y] = [field.values[a], field.values[b]];
      if (isNothing(x) || isNothing(y)) { if (isNothing(x) !== isNothing(y)) return isNothing(x) ? 1 : -1; }
      else if (x !== y) return (x < y ? -1 : 1) * (desc ? -1 : 1);
    }
    return 0;
  });
  const fields = frame.fields.filter((f) => !f.config.custom.hidden);
  const cell = (field, row) => {
    const value = field.values[row], d = field.display(value);
    const text = isNothing(value) ? d.text : shown(field, value);
    const isColored = field.config.custom.displayMode === 'color-background' && !isNothing(value);
    const link = field.config.links && value ? ' class=link' : '';
    return `<td${link}${isColored ? ` style="background:${d.color};color:#fff"` : ''}>${escaped(text)}</td>`;
  };
  const head = fields.map((f) => `<th style="width:${f.config.custom.width ? `${f.config.custom.width}px` : 'auto'}">`
    + escaped(grafana.getFieldDisplayName(f, frame, frames)));
  const visible = Math.floor((height - 64) / 36);
  const body = rows.slice(0, visible).map((row) => `<tr>${fields.map((f) => cell(f, row)).join('')}</tr>`);
  return `<table><tr>${head.join('')}</tr>${body.join('')}</table>`
    + `<div class=more>${rows.length} rows, ${Math.min(visible, rows.length)} to be seen without scrolling</div>`;
}

function timeline(frames, width, height) {
  const left = Math.min(420, width * 0.3), rowHeight = (height - 50) / frames.length;
  const x = (time) => left + (time / 1000 - NOW + SPAN) / SPAN * (width - left - 20);
  let shapes = '';
  frames.forEach((frame, index) => {
    const [times, values] = [frame.fields[0].values, frame.fields[1]];
    const y = 10 + rowHeight * index;
    const name = grafana.getFieldDisplayName(values, frame, frames);
    shapes += `<text x=${left - 8} y=${y + rowHeight / 2 + 4} text-anchor=end font-size=12 fill="#ccc">${escaped(name)}</text>`;
    for (let i = 0; i < times.length; i++) {
      const end = Math.min(times[i] + STEP * 1000, NOW * 1000);
      shapes += `<rect x=${x(times[i])} y=${y + 1} width=${x(end) - x(times[i]) + 0.5} height=${rowHeight * 0.86}`
        + ` fill="${values.display(values.values[i]).color}" fill-opacity=.7 />`;
    }
  });
  return `<svg width=${width} height=${height - 34}>${shapes}</svg>`;
}

function curves(frames, panel, width, height) {
  const stacked = panel.fieldConfig.defaults.custom?.stacking;
  const names = frames.map((f) => grafana.getFieldDisplayName(f.fields[1], f, frames));
  const points = frames.map((f) => new Map(f.fields[0].values.map((t, i) => [t, f.fields[1].values[i]])));
  const times = [...new Set(frames.flatMap((f) => [...f.fields[0].values]))].sort((a, b) => a - b);
  const sums = new Map(times.map((t) => [t, 0]));
  const lines = points.map((values) => times.filter((t) => Number.isFinite(values.get(t))).map((t) => {
    const value = values.get(t) + (stacked ? sums.get(t) : 0);
    sums.set(t, value);
    return [t, value];
  }));
  const top = Math.max(...lines.flat().map(([, v]) => v), 1e-9) * 1.05;
  const legend = Math.min(height * 0.4, 18 * Math.ceil((names.join('').length * 7 + names.length * 36) / width));
  const low = height - 52 - legend;
  const x = (t) => 64 + (t / 1000 - NOW + SPAN) / SPAN * (width - 84), y = (v) => 8 + low - v / top * low;
  const colors = frames.map((f, i) => color(f.fields[1].config.color?.fixedColor || PALETTE[i % PALETTE.length]));
  let shapes = '';
  for (let i = 0; i <= 4; i++) {
    const value = top * i / 4;
    shapes += `<line x1=64 x2=${width - 20} y1=${y(value)} y2=${y(value)} stroke="#333"/>`
      + `<text x=58 y=${y(value) + 4} font-size=11 fill="#aaa" text-anchor=end>${escaped(shown(frames[0].fields[1], value))}</text>`;
  }
  lines.forEach((line, i) => {
    let d = '', last;
    for (const [t, v] of line) {
      d += last && t - last < STEP * 3000 ? `H${x(t).toFixed(1)}V${y(v).toFixed(1)}` : `M${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
      last = t;
    }
    shapes += `<path d="${d}" fill=none stroke="${colors[i]}" stroke-width=1.5 />`;
  });
  const keys = names.map((name, i) => `<span><i style="background:${colors[i]}"></i>${escaped(name)}</span>`);
  return `<svg width=${width} height=${low + 14}>${shapes}</svg><div class=legend>${keys.join('')}</div>`;
}

async function body(panel) {
  const frames = await framesOf(panel);
  if (!frames.length) return '<div class=nothing>No data</div>';
  configure(frames, panel.fieldConfig);
  const [width, height] = [panel.gridPos.w * COLUMN - 10, panel.gridPos.h * LINE - 8];
  if (panel.type === 'stat') return stat(frames);
  if (panel.type === 'table') return table(frames, panel, height);
  if (panel.type === 'state-timeline') return timeline(frames, width, height);
  return curves(frames, panel, width, height);
}

const STYLE = `body{background:#111217;color:#ccccdc;font:13px Inter,DejaVu Sans,sans-serif;margin:8px;width:1440px;position:relative}
.panel{position:absolute;background:#181b1f;border:1px solid #2c2e33;overflow:hidden}
.row{position:absolute;font-weight:600;font-size:15px;padding-top:6px}
.title{padding:6px 8px;font-weight:500;white-space:nowrap}.title i{color:#777;font-style:normal}
.stat{text-align:center;font-weight:600;padding-top:10px;white-space:nowrap}
.nothing{text-align:center;color:#888;padding-top:16px;font-size:16px}
table{border-collapse:collapse;width:100%;table-layout:fixed}
th{color:#6e9fff;text-align:left;padding:6px 8px;border-bottom:1px solid #333;font-weight:500}
td{padding:9px 8px;border-bottom:1px solid #26282d;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.link{color:#6e9fff}.more{position:absolute;right:8px;top:8px;color:#777;font-size:11px}
.legend{padding:0 8px;font-size:11px;line-height:18px}.legend span{margin-right:12px}
.legend i{display:inline-block;width:14px;height:4px;margin-right:4px;vertical-align:middle}
.error{color:#f55;padding:8px;font-size:11px;white-space:pre-wrap}`;

(async () => {
  const dashboard = JSON.parse(fs.readFileSync(dashboardFile));
  let html = '', shift = 0, bottom = 0;
  const draw = async (panel) => {
    const { x, y, w, h } = panel.gridPos, top = (y + shift) * LINE;
    bottom = Math.max(bottom, top + h * LINE);
    const place = `left:${x * COLUMN}px;top:${top}px;width:${w * COLUMN - 10}px;height:${h * LINE - 8}px`;
    if (panel.type === 'row') {
      const isOpen = open && panel.panels.length;
      html += `<div class=row style="${place}">${isOpen ? '▾' : '▸'} ${escaped(panel.title)}</div>`;
      if (!isOpen) return;
      for (const inside of panel.panels) await draw(inside);
      const end = Math.max(...panel.panels.map((p) => p.gridPos.y + p.gridPos.h));
      shift += end - y - 1;
      return;
    }
    let inside;
    try { inside = await body(panel); } catch (error) { inside = `<div class=error>${escaped(error.stack)}</div>`; }
    html += `<div class=panel style="${place}"><div class=title>${escaped(panel.title)} <i>(i)</i></div>${inside}</div>`;
  };
  for (const panel of dashboard.panels) await draw(panel);
  fs.writeFileSync(out, `<!doctype html><meta charset=utf8><style>${STYLE}</style><body style="height:${bottom}px">${html}`);
  console.log(bottom + 16);
})();
