"use strict";
// Draws the charts of a report from the data in the page. Every figure is in a
// table as well; without this script the page only has no pictures.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const plots = new Map();
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const FONT = "12px system-ui, 'Liberation Sans', sans-serif";
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3]];

  const three = (v) => v >= 99.95 ? v.toFixed(0) : v >= 9.995 ? v.toFixed(1) : v.toFixed(2);
  const time = (ms) => ms == null ? "" :
    ms < 0.0009995 ? three(ms * 1e6) + " ns" :
    ms < 0.9995 ? three(ms * 1e3) + " µs" :
    ms < 999.5 ? three(ms) + " ms" : three(ms / 1e3) + " s";
  const tick = (ms) => ms == null ? null :
    ms < 0.001 ? +(ms * 1e6).toPrecision(3) + " ns" :
    ms < 1 ? +(ms * 1e3).toPrecision(3) + " µs" :
    ms < 1000 ? +ms.toPrecision(3) + " ms" : +(ms / 1e3).toPrecision(3) + " s";
  const short = (v) => v == null ? "" : v >= 1e6 ? +(v / 1e6).toPrecision(3) + " M" :
    v >= 1e4 ? +(v / 1e3).toPrecision(3) + " k" : number(v);
  const number = (v) => v == null ? "" : v >= 1000 ? Math.round(v).toLocaleString("en") : +v.toPrecision(3) + "";

  const axis = (label, more) => Object.assign({
    label, labelSize: 22, labelFont: FONT, font: FONT, stroke: colour("--faint"),
    grid: { stroke: colour("--rule"), width: 1 }, ticks: { stroke: colour("--rule"), width: 1, size: 5 },
  }, more);
  const line = (name, at, dash, value, more) => Object.assign({
    label: name, stroke: colour("--c" + at % 7), width: 2, dash: DASHES[dash % 4],
    value: (u, v) => value(v), points: { show: false }, spanGaps: false,
  }, more);
  const base = (width, opts) => Object.assign({
    width, height: 270, padding: [12, 18, 0, 0], legend: {
      live: true,
      markers: { dash: (u, at) => u.series[at].dash?.length ? "dashed" : "solid" },
    },
    cursor: { drag: { x: false, y: false }, y: false },
  }, opts);
  // A whole number of decades, and never none.
  const decades = (u, lo, hi) => {
    if (lo == null || !(lo > 0)) return [0.1, 10];
    const from = 10 ** Math.floor(Math.log10(lo) + 1e-9);
    const to = 10 ** Math.ceil(Math.log10(hi) - 1e-9);
    return [from, to > from ? to : from * 10];
  };
  const isDecade = (v) => v > 0 && Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6;
  const decadesOnly = (u, splits) => splits.map((v) => isDecade(v) ? v : null);
  const timeAxis = (label) => axis(label, {
    size: 66,
    grid: { stroke: colour("--rule"), width: 1, filter: decadesOnly },
    ticks: { stroke: colour("--rule"), width: 1, size: 5, filter: decadesOnly },
    values: (u, splits) => splits.map((v) => isDecade(v) ? tick(v) : null),
    filter: (u, splits) => splits,
  });

  const draw = {
    percentiles(element, d, width) {
      const nines = (x) => x <= 1 ? "0 %" : x === 2 ? "50 %" :
        (100 - 100 / x).toFixed(Math.max(0, Math.round(Math.log10(x)) - 2)) + " %";
      const top = d.x[d.x.length - 1];
      return new uPlot(base(width, {
        height: 320,
        scales: { x: { time: false, distr: 3, range: () => [1, Math.max(top, 10)] }, y: { distr: 3, range: decades } },
        axes: [
          axis("share of calls that were as fast", {
            // The first two marks need room.
            splits: () => [1, 2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].filter((x) => x <= Math.max(top, 10) && (width > 520 || x !== 1)),
            values: (u, splits) => splits.map(nines), filter: (u, splits) => splits,
          }),
          timeAxis("time"),
        ],
        series: [{ label: "of calls", value: (u, v) => v == null ? "" : +(100 - 100 / v).toPrecision(5) + " %" }]
          .concat(d.series.map((s) => line(s.name, s.colour, s.dash, time))),
      }), [d.x].concat(d.series.map((s) => s.y)), element);
    },

    rates(element, d, width) {
      const series = [{ label: "second", value: (u, v) => v == null ? "" : number(v) + " s" }];
      const columns = [d.t];
      // Steps, since each figure is that of a whole slice.
      const stepped = { paths: uPlot.paths.stepped({ align: 1 }) };
      if (d.offered) { series.push(line("offered", 6, 1, number, stepped)); columns.push(d.offered); }
      series.push(line("answered", 0, 0, number, stepped)); columns.push(d.answered);
      series.push(line("failed", 1, 2, number, Object.assign({ fill: colour("--c1") + "44" }, stepped))); columns.push(d.failed);
      return new uPlot(base(width, {
        scales: {
          x: { time: false, range: () => [0, d.t[d.t.length - 1]] },
          y: { range: (u, lo, hi) => [0, hi > 0 ? hi * 1.08 : 1] },
        },
        axes: [axis("seconds"), axis("requests per second", { size: 66, values: (u, s) => s.map(short) })],
        series,
      }), columns, element);
    },

    heat(element, d, width) {
      const stops = ["--heat0", "--heat1", "--heat2", "--heat3"].map((name) => rgb(colour(name)));
      const most = Math.log1p(d.cells.reduce((m, c) => Math.max(m, c[2]), 1));
      const cells = (u) => {
        const { ctx } = u;
        ctx.save();
        ctx.beginPath();
        ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
        ctx.clip();
        for (const [column, bin, count] of d.cells) {
          const x0 = Math.round(u.valToPos(d.t[column], "x", true));
          const x1 = Math.round(u.valToPos(d.t[column + 1], "x", true));
          const y0 = Math.round(u.valToPos(d.edges[bin], "y", true));
          const y1 = Math.round(u.valToPos(d.edges[bin + 1], "y", true));
          ctx.fillStyle = mix(stops, Math.log1p(count) / most);
          ctx.fillRect(x0, y1, x1 - x0, y0 - y1);
        }
        ctx.restore();
      };
      const middle = d.t.slice(0, -1).map((t, i) => (t + d.t[i + 1]) / 2);
      const over = (name, at, dash) => line(name, 0, dash, time, { stroke: colour(at), width: 2, spanGaps: true, points: { show: middle.length < 2 } });
      return new uPlot(base(width, {
        scales: {
          x: { time: false, range: () => [d.t[0], d.t[d.t.length - 1]] },
          y: { distr: 3, range: () => decades(null, d.edges[0], d.edges[d.edges.length - 1]) },
        },
        axes: [axis("seconds", { grid: { show: false } }), Object.assign(timeAxis("response time"), { grid: { show: false } })],
        series: [{ label: "second", value: (u, v) => v == null ? "" : number(v) + " s" }, over("p50", "--heat-line", 0), over("p99", "--heat-line2", 1)],
        hooks: { drawClear: [cells] },
      }), [middle, d.p50, d.p99], element);
    },

    curve(element, d, width) {
      const marks = (u) => {
        const { ctx } = u, dot = devicePixelRatio;
        const rule = (x0, y0, x1, y1, stroke, text, above) => {
          ctx.save();
          ctx.strokeStyle = ctx.fillStyle = stroke;
          ctx.lineWidth = 1.5 * dot;
          ctx.setLineDash([5 * dot, 4 * dot]);
          ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke();
          ctx.font = 12 * dot + "px system-ui, 'Liberation Sans', sans-serif";
          ctx.textAlign = above;
          ctx.fillText(text, x0 + (above === "right" ? -5 : 5) * dot, Math.min(y0, y1) + (y0 === y1 ? -5 : 14) * dot);
          ctx.restore();
        };
        const { left, top, width: w, height: h } = u.bbox;
        if (d.limit_ms) {
          const y = u.valToPos(d.limit_ms, "y", true);
          rule(left, y, left + w, y, colour("--c3"), "limit of the objective", "left");
        }
        if (d.sustains) {
          const x = u.valToPos(d.sustains, "x", true);
          rule(x, top, x, top + h, colour("--c2"), "sustains " + number(d.sustains) + "/s", "right");
        }
      };
      const dots = (name, at, dash) => line(name, at, dash, time, {
        points: { show: true, size: 8, width: 2, fill: colour("--page") },
      });
      return new uPlot(base(width, {
        height: 320,
        scales: { x: { time: false, range: (u, lo, hi) => [0, hi * 1.06] }, y: { distr: 3, range: (u, lo, hi) => decades(u, Math.min(lo, d.limit_ms || lo), Math.max(hi, d.limit_ms || hi)) } },
        axes: [axis("offered requests per second", { values: (u, s) => s.map(short) }), timeAxis("response time")],
        series: [{ label: "rate", value: (u, v) => v == null ? "" : number(v) + "/s" }, dots("p50", 0, 0), dots("p99", 1, 1)],
        hooks: { draw: [marks] },
      }), [d.rates, d.p50, d.p99], element);
    },
  };

  function rgb(hex) {
    const n = parseInt(hex.slice(1), 16);
    return [n >> 16, n >> 8 & 255, n & 255];
  }
  function mix(stops, share) {
    const at = Math.min(Math.max(share, 0), 0.9999) * (stops.length - 1);
    const [a, b] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
    return "rgb(" + a.map((v, i) => Math.round(v + (b[i] - v) * (at % 1))).join(",") + ")";
  }

  function render(fixed) {
    for (const element of document.querySelectorAll("[data-plot]")) {
      const d = data[element.dataset.plot];
      if (!d) continue;
      plots.get(element)?.destroy();
      const width = fixed ? fixed(element) : element.clientWidth;
      plots.set(element, draw[d.kind](element, d, Math.max(width, 260)));
    }
    root.dataset.drawn = plots.size;
  }

  const wish = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  let chosen = "auto";
  const apply = () => {
    root.dataset.theme = chosen === "auto" ? (wish.matches ? "dark" : "light") : chosen;
    button.textContent = "Colours: " + chosen;
    render();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = { auto: "light", light: "dark", dark: "auto" }[chosen];
    apply();
  });
  wish.addEventListener("change", apply);
  let pending;
  addEventListener("resize", () => {
    clearTimeout(pending);
    pending = setTimeout(() => render(), 120);
  });
  // Paper is light and has the width of a page.
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    render((element) => element.closest(".pair") ? 325 : 660);
  });
  addEventListener("afterprint", apply);
  apply();
})();
