// What went wrong, or well, at the place where it happened.
import { byId, el, fill } from "../dom.js"
import { visible } from "../format.js"

/** kind: good, warning, bad or plain. */
export function notice(kind, title, ...more) {
  return el("div", { class: `notice notice--${kind}` }, el("strong", { class: "notice__title" }, title), ...more)
}

export function problemNotice(error) {
  if (!error.problem) console.error(error)
  const problem = error.problem ?? { title: "This page has a fault", detail: `${error.message}. Reload it and try again.`, errors: [] }
  const rest = problem.errors.map(({ pointer, detail }) => el("li", {}, pointer ? `${visible(pointer.slice(1))}: ` : "", visible(detail)))
  const [title, detail] = problem.status && problem.detail ? [problem.detail] : [problem.title, problem.detail]
  return notice("bad", visible(title),
    detail ? el("p", {}, visible(detail)) : null,
    rest.length ? el("ul", {}, rest) : null,
    problem.request_id && problem.status >= 500 ? el("p", { class: "notice__small data" }, `Request ${visible(problem.request_id)}`) : null)
}

/** Shows it in `place`, by default at the head of the page, and clears it when there is none. */
export function showProblem(error, place = byId("problem") ?? byId("main")) {
  if (!error) return fill(place)
  const shown = problemNotice(error)
  if (place.id === "main") place.prepend(shown)
  else fill(place, shown)
  shown.scrollIntoView({ block: "nearest" })
}
