// Step 5: train.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("train", {title: "Train", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
