// The secret of a webhook, shown once.
import { button, el } from "../dom.js"
import { copyButton } from "./copy.js"
import { showDialog } from "./dialog.js"

export function showSecret(secret) {
  const content = [
    el("p", {}, "The receiver checks with it that what arrives is from this Switchboard. Copy it there now: it is kept sealed and never shown again."),
    el("pre", { class: "command data secret", tabindex: 0, "aria-label": "Secret" }, secret),
    el("p", { class: "faint" }, "Signatures are those of the Standard Webhooks specification, for which there are libraries in most languages."),
  ]
  return showDialog("The secret of this webhook", content, [() => copyButton("Copy the secret", secret), (close) => button("Done", () => close(""), { kind: "primary" })])
}
