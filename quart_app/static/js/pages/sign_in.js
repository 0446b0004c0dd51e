// Signing in by the printed link: its token stands behind the #, so no server log has it.
import { post } from "../api.js"
import { byId } from "../dom.js"

export async function start() {
  addEventListener("hashchange", signIn)
  await signIn()
}

async function signIn() {
  const token = location.hash.slice(1)
  if (!token) return say("This page needs a sign-in link.", { help: true })
  history.replaceState(null, "", "/sign-in")
  say("One moment: checking the link.")
  try {
    const { account } = await post("/api/sign-ins", { token }, { redirect: false })
    say(`Welcome, ${account.name}.`)
    location.replace("/connections")
  } catch (error) {
    say(error.problem?.code === "unreachable" ? `${error.problem.title}. ${error.problem.detail}` : "This link does not work: it was used already, is older than 15 minutes, or is not whole.", { help: true })
  }
}

function say(text, { help = false } = {}) {
  byId("sign-in-says").textContent = text
  byId("sign-in-help").hidden = !help
}
