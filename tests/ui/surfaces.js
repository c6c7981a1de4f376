// What a person cannot read on the page as it is now: surfaces that are not opaque, texts with too little contrast. Gives sentences.
({surfaces, least}) => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const known = new Map();
    const rgba = (color) => { // any CSS color as [red, green, blue, alpha], 0 to 255 and 0 to 1
        if (!known.has(color)) {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = "#000";
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
            known.set(color, [r, g, b, a / 255]);
        }
        return known.get(color);
    };
    const over = ([r, g, b, a], [r2, g2, b2]) => [r * a + r2 * (1 - a), g * a + g2 * (1 - a), b * a + b2 * (1 - a), 1];
    const light = (c) => { const s = c / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; };
    const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
    const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
    const root = document.querySelector("#lora_studio");
    const visible = (one) => one.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}) && one.getClientRects().length > 0;
    const name = (one) => `${one.tagName.toLowerCase()}.${[...one.classList].join(".")}`;
    const page = rgba(getComputedStyle(document.body).backgroundColor);
    const shown = (one) => { // what lies behind the text of an element; null where that is a picture
        const layers = [];
        for (let at = one; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            const color = rgba(style.backgroundColor);
            if (style.backgroundImage !== "none") return null;
            if (color[3] > 0) layers.push(color);
            if (color[3] >= 1) break;
            // what is laid over pictures is judged by its own background alone
            if (["absolute", "fixed"].includes(style.position) && color[3] === 0 && at !== root && at.parentElement.querySelector("img, canvas")) return null;
        }
        return layers.reverse().reduce((under, layer) => over(layer, under), page[3] >= 1 ? page : [255, 255, 255, 1]);
    };
    const wrong = new Set();
    for (const one of root.querySelectorAll(surfaces)) {
        if (!visible(one)) continue;
        const style = getComputedStyle(one);
        if (style.backgroundImage === "none" && rgba(style.backgroundColor)[3] < 1) wrong.add(`${name(one)} is see-through: ${style.backgroundColor}`);
    }
    const dim = (one) => one.closest(":disabled, [aria-disabled=true], .ls-struck") !== null;
    const veils = document.querySelectorAll(".ls-veil");
    const top = veils.length ? veils[veils.length - 1] : null;
    for (const one of root.querySelectorAll("*")) {
        const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.nodeValue.trim());
        if (!own || !visible(one) || dim(one) || (top && !top.contains(one) && !one.closest(".ls-toasts"))) continue;
        if (["SCRIPT", "STYLE", "OPTION", "TEXTAREA"].includes(one.tagName)) continue;
        const behind = shown(one);
        if (!behind) continue;
        let faint = 1;
        for (let at = one; at && at !== root; at = at.parentElement) faint *= Number(getComputedStyle(at).opacity);
        const [r, g, b, a] = rgba(one.tagName.toLowerCase() === "text" ? getComputedStyle(one).fill : getComputedStyle(one).color);
        const found = contrast(over([r, g, b, a * faint], behind), behind);
        if (found < least) wrong.add(`${name(one)} "${one.textContent.trim().slice(0, 40)}": contrast ${found.toFixed(2)}`);
    }
    return [...wrong];
}
