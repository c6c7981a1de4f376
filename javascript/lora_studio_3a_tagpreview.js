// What tagging would write: all tags by frequency, and a few pictures with every probability, from what is stored. Nothing is inferred for it.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, p} = Studio;
    const CLOUD = 150;

    // tagPreview({exclude(tag)}) -> {node, show(project, found)}
    Studio.tagPreview = function ({exclude, others}) {
        const node = h("div.ls-tag-preview");
        const percent = (v) => (v === null ? "" : Math.round(100 * v) + "%");

        // The most frequent is largest; with few pictures sizes still differ.
        function cloud(found) {
            const shown = found.tags.slice(0, CLOUD), most = shown.length ? shown[0][1] : 1;
            return h("div.ls-cloud", {}, shown.map(([tag, n, group, kind]) => h("button.ls-cloud-tag", {
                type: "button", class: kind === "trait" ? "ls-is-trait" : "", style: {"font-size": (12 + 12 * Math.sqrt(n / most)).toFixed(1) + "px"},
                title: t("{n} {caption|captions}; click to leave this tag out", {n}), translate: "no", onclick: () => exclude(tag), dataset: {tag},
            }, tag, h("sub", {}, n))));
        }
        function sample(project, one) {
            const [general, character] = one.thresholds;
            const line = ([tag, value, category, state]) => h("div.ls-probability", {class: "ls-" + state, dataset: {tag}, title: category === "character" ? t("character") : ""},
                h("span.ls-probability-tag", {translate: "no"}, tag),
                h("span.ls-probability-bar", {}, h("i", {style: {width: value === null ? "0" : (100 * value).toFixed(1) + "%"}}), h("b", {style: {left: (100 * (category === "character" ? character : general)).toFixed(1) + "%"}})),
                h("span.ls-probability-n", {}, percent(value)));
            return h("div.ls-card.ls-tag-sample", {dataset: {name: one.name}},
                h("img", {src: Studio.api.url(p`projects/${project}/pictures/dataset/${one.name}`, {size: 256}), alt: one.name, loading: "lazy"}),
                h("div.ls-tag-sample-side", {}, h("strong", {translate: "no"}, one.name), one.kept ? h("span.ls-badge", {}, t("keeps its caption")) : null, h("div.ls-probabilities", {}, one.tags.map(line))));
        }
        function show(project, found) {
            if (!found || !found.stored) { node.replaceChildren(); return; }
            Studio.fill(node,
                h("div.ls-card", {}, h("div.ls-row", {}, h("h3", {}, t("Tags by frequency")), h("span.ls-hint", {}, t("{n} different {tag|tags}, {average} a caption on average", {n: found.distinct, average: found.average === null ? "–" : found.average.toFixed(1)}))),
                    cloud(found), found.tags.length > CLOUD ? h("div.ls-hint", {}, t("The {n} most frequent are shown.", {n: CLOUD})) : null,
                    h("div.ls-hint", {}, t("Marked: what may belong to the character; Remove traits under Edit takes it out."))),
                h("div.ls-row", {}, h("h3", {}, t("Some pictures")), Studio.button(t("Others"), others, {kind: "small"})),
                h("div.ls-tag-samples", {}, found.samples.map((one) => sample(project, one))));
        }
        return {node, show};
    };
})();
