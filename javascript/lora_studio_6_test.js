// Step 6: test.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("test", {title: "Test", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
