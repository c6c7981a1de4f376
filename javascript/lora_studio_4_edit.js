// Step 4: edit.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("edit", {title: "Edit", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
