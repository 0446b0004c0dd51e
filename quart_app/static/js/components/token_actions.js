// What a person can do about a connection's token: sign in at the provider, or have it refreshed now.
import { post } from "../api.js"
import { button, el } from "../dom.js"
import { moment } from "../format.js"
import { notice } from "./notice.js"
import { report } from "./report.js"

/** Whether somebody signs in for it in a browser; then the provider's page is where the button leads. */
export const signsIn = ({ scheme, grant }) => scheme === "oauth2" && grant === "authorization_code"

export function signInButton(name, place, properties = {}) {
  return button("Sign in", (event) => report(event.currentTarget, place, "Going to the provider…", async () => {
    const { authorize_url: provider } = await post(`/api/connections/${encodeURIComponent(name)}/authorizations`)
    location.assign(provider)
    return el("p", { class: "faint" }, "Going to the provider…")
  }), properties)
}

export function refreshButton(label, name, place, properties = {}) {
  return button(label, (event) => report(event.currentTarget, place, "Refreshing the token…", async () => {
    const { state, expires_at, generation } = await post(`/api/connections/${encodeURIComponent(name)}/token-refreshes`)
    const until = expires_at ? ` It is good until ${moment(expires_at)}.` : ""
    return notice(state === "ready" ? "good" : "bad", state === "ready" ? "There is a new token." : "There is no new token.",
      el("p", {}, `Generation ${generation}.${until}`))
  }), properties)
}
