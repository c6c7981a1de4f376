// What extensions use of the WebUI's script.js.
function gradioApp() {
    const elems = document.getElementsByTagName("gradio-app");
    const elem = elems.length === 0 ? document : elems[0];
    if (elem !== document) elem.getElementById = (id) => document.getElementById(id);
    return elem.shadowRoot ? elem.shadowRoot : elem;
}
function get_uiCurrentTab() { return gradioApp().querySelector("#tabs > .tab-nav > button.selected"); }
function switch_to_txt2img() { gradioApp().querySelector("#tabs").querySelectorAll("button")[0].click(); return Array.from(arguments); }
function updateInput(target) { const e = new Event("input", {bubbles: true}); Object.defineProperty(e, "target", {value: target}); target.dispatchEvent(e); }
