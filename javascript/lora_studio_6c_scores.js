// The numbers of an evaluation: curves over the epochs, each trait before and after, and what the three measures mean.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    const MEASURES = [
        ["likeness", "Likeness", "shows the character", "Share of the removed traits that the tagger finds when only the trigger word is prompted. More is better."],
        ["flexibility", "Flexibility", "obeys other tags", "Share of the other prompted tags (background, clothes, expression) that are obeyed together with the trigger. More is better."],
        ["leakage", "Leakage", "changes others", "Share of the traits that appear without the trigger, unnamed. It should stay where the base model is."],
    ];
    const COLOURS = {likeness: "var(--ls-ok)", flexibility: "var(--ls-accent-text)", leakage: "var(--ls-bad)"};

    function curves(report) {
        const all = [{epoch: 0, ...report.base}, ...report.epochs];
        const series = MEASURES.map(([key, name]) => ({name: t(name), color: COLOURS[key], points: all.filter((e) => e[key] !== null).map((e) => [e.epoch, 100 * e[key]])})).filter((one) => one.points.length);
        if (!series.length || !Studio.chart) return null;
        const box = h("div.ls-test-chart");
        Studio.chart(box, {series, xLabel: t("Epoch (0: base model)"), yLabel: "%", marks: [{x: report.recommended, text: t("recommended")}]});
        return box;
    }

    function traits(report) {
        const rows = Object.entries(report.by_tag || {});
        if (!rows.length) return null;
        const bar = (share, kind, label) => h("div.ls-trait-bar", {class: kind, title: label + ": " + Studio.percent(share)}, h("i", {style: {width: 100 * (share || 0) + "%"}}));
        return h("div", {}, h("h4", {}, t("Each trait with the trigger alone")),
            h("div.ls-row.ls-hint", {}, h("span.ls-key.ls-base"), t("Base model"), h("span.ls-key.ls-best"), t("Epoch {n}", {n: report.recommended})),
            h("div.ls-traits", {}, rows.map(([tag, {base, recommended}]) => [
                h("span.ls-trait-name", {}, tag),
                h("div", {}, bar(base, "ls-base", t("Base model")), bar(recommended, "ls-best", t("Epoch {n}", {n: report.recommended}))),
                h("span.ls-trait-numbers", {}, Studio.percent(base) + " → " + Studio.percent(recommended))])));
    }

    Studio.testScores = ({report}) => h("div.ls-card.ls-test-scores", {},
        h("h3", {}, t("How good is each epoch?")),
        h("div.ls-test-halves", {}, h("div", {}, curves(report),
            h("dl.ls-measures", {}, MEASURES.map(([key, name, short, long]) => [h("dt", {style: {color: COLOURS[key]}}, t(name)), h("dd", {}, h("strong", {}, t(short)), h("div.ls-hint", {}, t(long)))]))),
        traits(report)));
})();
