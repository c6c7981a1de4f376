// From an epoch to a prompt: into the host's txt2img, or onto the clipboard.
"use strict";
(function () {
    const Studio = window.LoraStudio, {h, t} = Studio;

    // -- clipboard ---------------------------------------------------------------
    // navigator.clipboard exists only on https and on this machine; elsewhere the old way still works.
    Studio.copyText = async function (text) {
        let done = false;
        try { await navigator.clipboard.writeText(text); done = true; } catch (error) { done = oldCopy(text); }
        if (done) { Studio.toast(t("Copied: {text}", {text}), "ok"); return true; }
        await Studio.dialog({title: t("Copy this text"), body: h("textarea", {readOnly: true, rows: 4, value: text, onfocus: (e) => e.target.select()})});
        return false;
    };
    function oldCopy(text) {
        const field = h("textarea", {value: text, readOnly: true, "aria-hidden": "true", style: {position: "fixed", top: "0", opacity: "0"}}), before = document.activeElement;
        Studio.root.append(field);
        field.select();
        let done = false;
        try { done = document.execCommand("copy"); } catch (error) { done = false; }
        field.remove();
        if (before && before.focus) before.focus();
        return done;
    }

    // -- the host's txt2img ----------------------------------------------------------
    const app = () => (typeof window.gradioApp === "function" ? window.gradioApp() : document);
    const find = {
        prompt: () => app().querySelector("#txt2img_prompt textarea"),
        negative: () => app().querySelector("#txt2img_neg_prompt textarea"),
        width: () => app().querySelector("#txt2img_width input[type=number]") || app().querySelector("#txt2img_width input"),
        height: () => app().querySelector("#txt2img_height input[type=number]") || app().querySelector("#txt2img_height input"),
    };
    Studio.hasTxt2img = () => Boolean(Studio.state.session && Studio.state.session.has_txt2img);

    // The host's components learn of a new value from the event that typing causes.
    function put(field, value) {
        if (!field) return;
        const setter = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set;
        setter.call(field, String(value));
        if (typeof window.updateInput === "function") window.updateInput(field);
        else field.dispatchEvent(new Event("input", {bubbles: true}));
        field.dispatchEvent(new Event("change", {bubbles: true}));
    }
    function switchTab() {
        if (typeof window.switch_to_txt2img === "function") return window.switch_to_txt2img();
        const tab = find.prompt().closest('[id="tab_txt2img"]') && app().querySelector("#tabs button");
        return tab && tab.click();
    }

    // What is there already, and what is not yet: the parts of `more` that `text` does not hold.
    function joined(text, more) {
        const parts = (one) => one.split(",").map((x) => x.trim()).filter(Boolean), there = new Set(parts(text));
        return [text.trim().replace(/,$/, ""), ...parts(more).filter((x) => !there.has(x))].filter(Boolean).join(", ");
    }

    // sendToTxt2img(lora): a saved epoch of the server's list. Asks before it takes away what somebody typed.
    Studio.sendToTxt2img = async function (lora) {
        const {usage} = lora, field = find.prompt();
        if (!field) {
            Studio.toast(t("The txt2img tab was not found on this page; the prompt is copied instead."), "error");
            return Studio.copyText(usage.prompt);
        }
        let how = "replace";
        if (field.value.trim()) {
            how = await Studio.dialog({
                title: t("There is a prompt in txt2img already"), body: h("div", {}, h("code.ls-test-prompt", {}, field.value)),
                buttons: [{text: t("Cancel"), value: null}, {text: t("Append"), value: "append"}, {text: t("Replace"), value: "replace", kind: "primary"}],
            });
            if (!how) return false;
        }
        // A new file is found by its name in any case; the refresh is for the host's list of cards.
        await Studio.api.post("host/loras/refresh").catch(() => null);
        const negative = find.negative();
        put(field, how === "append" ? joined(field.value, usage.prompt) : usage.prompt);
        put(negative, how === "append" && negative ? joined(negative.value, usage.negative) : usage.negative);
        if (how === "replace") { put(find.width(), usage.width); put(find.height(), usage.height); }
        if (lora.in_lora_dir === false) Studio.toast(t("This epoch is not in the WebUI's LoRA folder: it will have no effect until it is copied there."), "error");
        else Studio.toast(t("It was trained on {base}: choose that checkpoint, or one made from it.", {base: lora.base || "?"}), "ok");
        switchTab();
        return true;
    };

    // The buttons that every epoch has.
    Studio.useButtons = function (lora, small) {
        const kind = small ? "small" : "";
        return [
            Studio.hasTxt2img() ? Studio.button(t("Send to txt2img"), () => Studio.sendToTxt2img(lora), {kind: small ? "small" : "primary"}) : null,
            Studio.button(t("Copy prompt"), () => Studio.copyText(lora.usage.prompt), {kind: small || Studio.hasTxt2img() ? kind : "primary", title: lora.usage.prompt}),
            Studio.button(t("Copy activation text"), () => Studio.copyText(lora.usage.activation), {kind, title: lora.usage.activation}),
        ];
    };
})();
