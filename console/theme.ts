const STORED = 'feedgate.theme'

/** Light or dark: the system's choice until the button says otherwise. */
export class Theme {
  readonly #button: HTMLButtonElement
  readonly #system = matchMedia('(prefers-color-scheme: dark)')
  readonly #changed: () => void

  /** `changed` is called after the colours did. */
  constructor(button: HTMLButtonElement, changed: () => void) {
    this.#button = button
    this.#changed = changed
    const chosen = read()
    if (chosen) document.documentElement.dataset.theme = chosen
    button.addEventListener('click', () => this.#choose(this.#dark ? 'light' : 'dark'))
    this.#system.addEventListener('change', () => this.#show())
    this.#show()
  }

  get #dark(): boolean {
    const chosen = document.documentElement.dataset.theme
    return chosen ? chosen === 'dark' : this.#system.matches
  }

  #choose(theme: 'light' | 'dark'): void {
    document.documentElement.dataset.theme = theme
    try {
      localStorage.setItem(STORED, theme)
    } catch {
      // Storage is denied: the choice holds for this visit.
    }
    this.#show()
  }

  #show(): void {
    this.#button.setAttribute('aria-pressed', String(this.#dark))
    this.#changed()
  }
}

function read(): 'light' | 'dark' | undefined {
  try {
    const value = localStorage.getItem(STORED)
    return value === 'light' || value === 'dark' ? value : undefined
  } catch {
    return undefined
  }
}

/** The value of a colour of the style sheet, such as `--up`. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}
