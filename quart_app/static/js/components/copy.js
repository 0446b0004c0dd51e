// A button that puts text on the clipboard.
import { announce, button } from "../dom.js"

/** `text` is a string, or a function that makes it when asked. */
export function copyButton(label, text, properties = {}) {
  const control = button(label, () => copy(control, label, text), { kind: "quiet", ...properties })
  return control
}

async function copy(control, label, text) {
  try {
    await navigator.clipboard.writeText(typeof text === "function" ? await text() : text)
    control.textContent = "Copied"
    announce("Copied")
  } catch {
    control.textContent = "Not allowed"
    announce("The browser does not let this page use the clipboard. Select the text and copy it by hand.", { shown: true })
  }
  setTimeout(() => { control.textContent = label }, 1500)
}
