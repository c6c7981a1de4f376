// A line chart that every step may use: raw values faint, smoothed ones strong, a line that follows the pointer and says the numbers.
//
// LoraStudio.chart(container, {series: [{name, color?, points: [[x, y], …] by rising x, dim?}], xLabel, yLabel, marks: [{x, text}],
//     format?(y) -> text, onHover?(x | null) -> a text for the tip or nothing}) -> {node, update(series, marks?)}
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const COLOURS = ["var(--ls-accent)", "var(--ls-ok)", "var(--ls-bad)", "var(--ls-warn)"];
    const HEIGHT = 220, LEFT = 48, RIGHT = 12, TOP = 20, BOTTOM = 34;

    // Round numbers from low to high, about `wanted` of them.
    function ticks(low, high, wanted, whole) {
        const rough = (high - low) / Math.max(1, wanted) || 1, power = 10 ** Math.floor(Math.log10(rough));
        let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
        if (whole) step = Math.max(1, Math.round(step));
        const found = [];
        for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-6; k++) found.push(k * step);
        return found;
    }
    const short = (n) => (n === 0 ? "0" : Math.abs(n) >= 1000 ? n.toLocaleString("en") : Math.abs(n) < 0.001 ? n.toExponential(1) : String(+n.toPrecision(3)));

    // The heights to show: all of the strong lines; of faint ones not the rare spikes, which are cut off at the edge.
    function bounds(series) {
        const all = [];
        for (const {points, dim} of series) {
            const ys = points.map((p) => p[1]).filter(Number.isFinite).sort((a, b) => a - b);
            if (ys.length) all.push(ys[dim ? Math.floor(ys.length * 0.01) : 0], ys[dim ? Math.ceil((ys.length - 1) * 0.98) : ys.length - 1]);
        }
        if (!all.length) return [0, 1];
        const low = Math.min(...all), high = Math.max(...all), room = (high - low || Math.abs(high) || 1) * 0.06;
        return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
    }
    // The last point at or before x, by halving; the first one where there is none.
    function at(points, x) {
        let low = 0, high = points.length - 1;
        while (low < high) { const middle = (low + high + 1) >> 1; if (points[middle][0] <= x) low = middle; else high = middle - 1; }
        if (low + 1 < points.length && points[low + 1][0] - x < x - points[low][0]) low++;
        return points[low];
    }

    Studio.chart = function (container, options) {
        const format = options.format || short;
        let series = options.series || [], marks = options.marks || [], width = 0, scale = null, hovered = null;
        const svg = h("svg.ls-chart-lines", {role: "img", tabindex: 0});
        const tip = h("div.ls-chart-tip", {hidden: true}), legend = h("div.ls-chart-legend");
        const node = h("div.ls-chart", {}, legend, h("div.ls-chart-box", {}, svg, tip));
        const colour = (one, k) => one.color || COLOURS[k % COLOURS.length];

        function draw() {
            width = Math.max(200, Math.round(svg.clientWidth || container.clientWidth || 600));
            svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
            svg.setAttribute("aria-label", [options.yLabel, options.xLabel].filter(Boolean).join(" / "));
            Studio.fill(legend, series.length > 1 || options.yLabel ? [options.yLabel ? h("span.ls-chart-y", {}, options.yLabel) : null, series.length > 1 ? series.map((one, k) =>
                h("span", {}, h("i", {class: one.dim ? "ls-dim" : "", style: {background: colour(one, k)}}), one.name)) : null] : null);
            const xs = series.flatMap(({points}) => (points.length ? [points[0][0], points[points.length - 1][0]] : [])).concat(marks.map((m) => m.x));
            if (!xs.length) { svg.replaceChildren(); scale = null; return; }
            const [x0, x1] = [Math.min(...xs), Math.max(...xs)], [y0, y1] = bounds(series);
            const x = (v) => LEFT + (v - x0) / (x1 - x0 || 1) * (width - LEFT - RIGHT);
            const y = (v) => TOP + (1 - (Math.min(y1, Math.max(y0, v)) - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM);
            scale = {x, y, x0, x1};
            const floor = HEIGHT - BOTTOM;
            // Texts of marks that would lie on one another are left out; their lines stay.
            let free = -Infinity;
            const named = marks.map((m) => { const at = x(m.x), shown = at - free > 0; if (shown) free = at + 10 + 7 * String(m.text || "").length; return [m, at, shown]; });
            svg.replaceChildren();
            Studio.append(svg, [
                ticks(y0, y1, 4).map((v) => [h("line.ls-grid", {x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v)}), h("text.ls-y", {x: LEFT - 6, y: y(v) + 4, "text-anchor": "end"}, format(v))]),
                ticks(x0, x1, Math.min(8, width / 90), true).map((v) => h("text.ls-x", {x: x(v), y: floor + 15, "text-anchor": "middle"}, short(v))),
                options.xLabel ? h("text.ls-x", {x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle"}, options.xLabel) : null,
                named.map(([m, px, shown]) => [h("line.ls-mark", {x1: px, x2: px, y1: TOP, y2: floor}),
                    shown && m.text ? h("text.ls-mark-text", {x: px > width - 90 ? px - 4 : px + 4, y: TOP - 7, "text-anchor": px > width - 90 ? "end" : "start"}, m.text) : null]),
                series.map((one, k) => {
                    const shown = one.points.filter((p) => Number.isFinite(p[1]));
                    if (shown.length === 1) return h("circle", {cx: x(shown[0][0]), cy: y(shown[0][1]), r: 3, style: {fill: colour(one, k)}});
                    return h("polyline", {class: one.dim ? "ls-dim" : "", points: shown.map((p) => x(p[0]).toFixed(1) + "," + y(p[1]).toFixed(1)).join(" "), style: {stroke: colour(one, k)}});
                }),
                h("line.ls-pointer", {x1: 0, x2: 0, y1: TOP, y2: floor, style: {display: "none"}}),
            ]);
            if (hovered !== null) point(hovered);
        }

        function point(x) {
            const line = svg.querySelector(".ls-pointer"), filled = series.filter((one) => one.points.length);
            if (!scale || !filled.length || !line) return;
            // To where a value really is, that all lines are read at the same place.
            hovered = x = at(filled.reduce((a, b) => (b.points.length > a.points.length ? b : a)).points, Math.min(scale.x1, Math.max(scale.x0, x)))[0];
            const px = scale.x(x);
            line.setAttribute("x1", px); line.setAttribute("x2", px); line.style.display = "";
            const more = options.onHover ? options.onHover(x) : null;
            Studio.fill(tip, h("div.ls-chart-x", {}, (options.xLabel ? options.xLabel + " " : "") + short(x)),
                filled.map((one) => h("div", {}, h("i", {style: {background: colour(one, series.indexOf(one))}}), one.name + ": " + format(at(one.points, x)[1]))),
                more ? h("div", {}, more) : null);
            tip.hidden = false;
            const right = px > width / 2, share = 100 * px / width;
            tip.style.left = right ? "" : `calc(${share}% + 10px)`;
            tip.style.right = right ? `calc(${100 - share}% + 10px)` : "";
        }
        function leave() {
            hovered = null;
            tip.hidden = true;
            const line = svg.querySelector(".ls-pointer");
            if (line) line.style.display = "none";
            if (options.onHover) options.onHover(null);
        }
        svg.addEventListener("pointermove", (e) => {
            if (!scale) return;
            const box = svg.getBoundingClientRect(), px = (e.clientX - box.left) * width / box.width;
            point(scale.x0 + (px - LEFT) / (width - LEFT - RIGHT) * (scale.x1 - scale.x0));
        });
        svg.addEventListener("pointerleave", leave);
        svg.addEventListener("blur", leave);
        svg.addEventListener("keydown", (e) => {
            const step = {ArrowRight: 1, ArrowLeft: -1}[e.key], longest = series.reduce((a, b) => (b.points.length > a.points.length ? b : a), {points: []}).points;
            if (!step || !longest.length) return;
            const now = hovered === null ? (step > 0 ? -1 : longest.length) : longest.findIndex((p) => p[0] >= hovered);
            point(longest[Math.max(0, Math.min(longest.length - 1, now + step))][0]);
            e.preventDefault(); e.stopPropagation();
        });

        container.append(node);
        draw();
        new ResizeObserver(() => { if (svg.clientWidth && Math.abs(svg.clientWidth - width) > 1) draw(); }).observe(node);
        return {node, update(now, nowMarks) { series = now; if (nowMarks) marks = nowMarks; draw(); }};
    };
})();
