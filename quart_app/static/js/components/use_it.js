// The three ways to call through a connection, ready to be copied.
import { button, el } from "../dom.js"
import { copyButton } from "./copy.js"
import { showDialog } from "./dialog.js"

export function showUses({ name }) {
  const content = [
    el("p", {}, "A program shows a key. Make one where Switchboard runs with ", el("code", {}, "switchboard key create NAME"), " and put it in ", el("code", {}, "SWITCHBOARD_KEY"), "."),
    ...waysOf(name).map(([title, text, command]) => el("section", { class: "use" },
      el("header", { class: "use__header" }, el("h3", {}, title), copyButton("Copy", command, { "aria-label": `Copy: ${title}` })),
      el("p", { class: "faint" }, text),
      el("pre", { class: "command data", tabindex: 0 }, command))),
  ]
  return showDialog(`Use ${name}`, content, [(close) => button("Done", () => close(""), { kind: "primary" })], { wide: true })
}

function waysOf(name) {
  const { origin } = location
  return [
    ["As a call", "The answer is a record of the call in JSON.",
      `curl ${origin}/api/calls \\\n  -H "Authorization: Bearer $SWITCHBOARD_KEY" \\\n  -H 'Content-Type: application/json' \\\n  --data-raw '{"connection": "${name}", "method": "GET", "path": "/"}'`],
    ["Through the proxy", "The answer is the API's own. Point an SDK or a front end at this address.",
      `curl ${origin}/proxy/${name}/ \\\n  -H "Authorization: Bearer $SWITCHBOARD_KEY"`],
    ["In a terminal", "On the machine where Switchboard runs.", `switchboard call ${name} GET /`],
  ]
}
