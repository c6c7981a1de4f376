// Step 1: the project.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;
    Studio.panel("project", {title: "Project", create(root) { root.append(h("div.ls-empty", {}, "…")); return {}; }});
})();
