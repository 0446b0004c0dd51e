// Starts the module of the page that the server named in <body data-page>.
import { remove } from "./api.js"
import { byId, enable } from "./dom.js"
import { showProblem } from "./components/notice.js"

const PAGES = ["sign_in", "connections", "connection", "send", "history", "diff", "webhooks", "authorization"]
const { page } = document.body.dataset

if (byId("sign-out")) enable("sign-out", signOut)
if (PAGES.includes(page)) start()

async function start() {
  try {
    const module = await import(`./pages/${page}.js`)
    await module.start()
    document.body.dataset.ready = ""
  } catch (error) {
    showProblem(error)
  }
}

async function signOut() {
  try {
    await remove("/api/sign-ins/current")
    location.assign("/sign-in")
  } catch (error) {
    showProblem(error)
  }
}
