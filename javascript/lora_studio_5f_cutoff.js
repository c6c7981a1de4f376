// A training that ended without a word (the computer, the WebUI or its launcher was closed): offered above every step until it goes on or is put off.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts} = Studio;
    let node = null;

    function draw() {
        if (!node) return;
        const project = Studio.state.project, cut = project && project.cut_off;
        // On the step Train the run's own card says it and has the button.
        node.hidden = !cut || Studio.state.step === "train" || Studio.remembered("cut_off." + project.id) === cut.name;
        if (node.hidden) return;
        const when = {time: Studio.runTime(cut.name), n: cut.step.toLocaleString("en"), all: cut.total.toLocaleString("en")};
        Studio.fill(node,
            h("div", {}, h("strong", {}, cut.total ? t("The training of {time} was cut off at step {n} of {all}.", when) : t("The training of {time} was cut off before its first step.", when)), h("div.ls-hint", {}, ts(cut.message))),
            h("div.ls-row", {},
                Studio.button(t("Resume"), async () => { await Studio.resumeRun(project.id, cut.name); await Studio.refresh(); Studio.open("train"); }, {kind: "primary"}),
                Studio.button(t("Not now"), () => { Studio.remember("cut_off." + project.id, cut.name); draw(); })));
    }

    Studio.on("mounted", (root) => {
        node = h("section.ls-card.ls-cut-off", {hidden: true, "aria-label": t("A training was cut off")});
        root.querySelector(".ls-headline").after(node);
        draw();
    });
    for (const what of ["project", "refreshed", "step"]) Studio.on(what, draw);
})();
