// Step 3: tag.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("tag", {title: "Tag", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
