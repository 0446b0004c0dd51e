// The line to the server: calls as they happen, gathered so that a thousand a second do not choke the page; or held while paused.
import { listen } from "../api.js"
import { byId, enable } from "../dom.js"
import { plural } from "../format.js"

const EVERY = 200

/** `arrived` gets calls in bundles; `opened` runs each time the line comes up, and then the page is live. */
export function startLive({ arrived, opened }) {
  const held = new Map()
  let paused = false
  let timer = null
  const flush = () => {
    timer = null
    if (paused) return showWaiting(held.size)
    const calls = [...held.values()]
    held.clear()
    showWaiting(0)
    if (calls.length) arrived(calls)
  }
  const pause = () => {
    paused = !paused
    byId("pause").setAttribute("aria-pressed", String(paused))
    byId("pause").textContent = paused ? "Resume" : "Pause"
    say(paused ? "paused" : "live")
    flush()
  }
  enable("pause", pause)
  byId("waiting").addEventListener("click", pause)
  listen({ call: (call) => { held.set(call.id, call); timer ??= setTimeout(flush, EVERY) } }, {
    opened: async () => { await opened(); if (!paused) say("live") },
    lost: () => say("lost"),
  })
}

function say(state) {
  const live = byId("live")
  live.dataset.state = state
  live.textContent = { live: "Live", paused: "Paused", lost: "Reconnecting…" }[state]
}

function showWaiting(count) {
  byId("waiting").hidden = !count
  byId("waiting").textContent = `Show ${plural(count, "new call")}`
}
