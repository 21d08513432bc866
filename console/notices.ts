import { clock, make } from './dom.ts'

export type Weight = 'info' | 'warning' | 'error'

/** Older ones go: the gateway's own history has them. */
const MAX_NOTICES = 50

/** What an operator should know, newest first. */
export class Notices {
  readonly #list: HTMLElement
  #lastText = ''

  constructor(list: HTMLElement) {
    this.#list = list
  }

  add(weight: Weight, text: string): void {
    const first = this.#list.firstElementChild
    if (text === this.#lastText && first instanceof HTMLElement) {
      first.dataset.times = String(Number(first.dataset.times ?? 1) + 1)
      return
    }
    this.#lastText = text
    const item = make('li')
    item.dataset.weight = weight
    item.append(make('time', '', clock(Date.now())), make('span', '', text))
    this.#list.prepend(item)
    if (this.#list.children.length > MAX_NOTICES) this.#list.lastElementChild?.remove()
  }
}
