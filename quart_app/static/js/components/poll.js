// Work that repeats while someone can see what it fills: not in a background tab, not scrolled away, not off the page.

/** Runs `work` at once and every `seconds`; it ends for good when `element` has left the page or `work` gives false. Returns a nudge. */
export function whileSeen(element, seconds, work) {
  let timer = null
  let seen = false
  let placed = false
  let running = false
  const end = () => {
    watch.disconnect()
    document.removeEventListener("visibilitychange", turn)
    seen = false
  }
  const turn = async () => {
    clearTimeout(timer)
    placed ||= element.isConnected
    if (placed && !element.isConnected) return end()
    if (!seen || document.hidden || running) return
    running = true
    const goOn = await work().finally(() => { running = false })
    if (goOn === false) return end()
    timer = setTimeout(turn, seconds * 1000)
  }
  const watch = new IntersectionObserver((entries) => { seen = entries.at(-1).isIntersecting; turn() })
  watch.observe(element)
  document.addEventListener("visibilitychange", turn)
  return turn
}
