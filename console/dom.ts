/** Finds what `index.html` holds; a missing element is a mistake in the page, so it throws. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id)
  if (!element) throw new Error(`no element #${id}`)
  return element as E
}

/** A new element. Text goes in as text, never as markup. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = '',
  text = '',
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  if (className) element.className = className
  if (text) element.textContent = text
  return element
}

/** Writes only what differs: an untouched node costs the browser nothing. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/** Colours a value that moved for a moment. */
export function flash(element: HTMLElement, direction: number): void {
  if (direction === 0) return
  element.dataset.move = direction > 0 ? 'up' : 'down'
  const stamp = String(performance.now())
  element.dataset.stamp = stamp
  setTimeout(() => {
    if (element.dataset.stamp === stamp) delete element.dataset.move
  }, 500)
}

/** Makes the children of `parent` exactly these, in this order, moving as few as it can. */
export function arrange(parent: Element, children: readonly Element[]): void {
  for (const [i, child] of children.entries())
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] ?? null)
  while (parent.children.length > children.length) parent.lastElementChild?.remove()
}

/** `12 s`, `3 min`, `2 h`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms / 1_000)
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** `10:20:30`, UTC. */
export function clock(ms: number): string {
  return new Date(ms).toISOString().slice(11, 19)
}
