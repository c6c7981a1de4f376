// The card above the steps, inside a WebUI that lacks what training and tagging need: what is missing, one button, a bar. Gone once all is there.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t, ts} = Studio;

    function card(environment) {
        const trouble = h("div.ls-setup-trouble", {hidden: true, role: "alert"});
        const bar = Studio.jobBar("install", ended, {page: true});
        const start = Studio.button(t("Install"), async () => {
            trouble.hidden = true;
            bar.follow(await Studio.api.post("environment/install"));
        }, {kind: "primary"});
        const node = h("section.ls-card.ls-setup", {"aria-label": t("One thing is missing: the training packages")},
            h("div.ls-row", {},
                h("div.ls-setup-text", {},
                    h("strong", {}, t("One thing is missing: the training packages")),
                    h("div.ls-hint", {}, t("About {size} to fetch, once. They go into a folder of their own that only training and tagging use; nothing of the WebUI's is changed.", {size: Studio.bytes(environment.size_hint)})),
                    h("details.ls-hint", {}, h("summary", {}, t("{n} {package|packages}", {n: environment.missing.length})), h("span", {translate: "no"}, environment.missing.join(", ")))),
                start),
            bar.node, trouble);

        async function ended(job) {
            if (job.state === "failed") {
                Studio.fill(trouble, h("strong", {}, ts(job.error)), h("div.ls-hint", {}, ts(job.hint)));
                trouble.hidden = false;
            }
            const now = await Studio.api.get("environment").catch(() => environment);
            Studio.state.session.environment = now;
            if (!now.ready) return;
            node.remove();
            Studio.toast(t("The training packages are set up."));
            Studio.emit("environment", now);
        }
        // While it runs there is nothing to press but Stop.
        new MutationObserver(() => { start.disabled = !bar.node.hidden; }).observe(bar.node, {attributes: true, attributeFilter: ["hidden"]});
        return node;
    }

    Studio.on("mounted", (root) => {
        const environment = Studio.state.session.environment;
        if (environment && !environment.ready) root.querySelector(".ls-top").before(card(environment));
    });
})();
