// Step 2: crop.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("crop", {title: "Crop", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
