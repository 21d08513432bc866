import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'

interface Answer {
  readonly id: number
  readonly answer?: unknown
  readonly error?: string
}

/** A process of a soak run that is told over IPC what to do, and ends with this one. */
export class Child {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>()
  #id = 0

  /** `script`: in this folder. */
  constructor(script: string, args: readonly string[] = []) {
    this.#process = fork(join(import.meta.dirname, script), args, {
      execArgv: ['--expose-gc'],
      stdio: 'inherit',
    })
    this.#process.on('message', (message) => this.#answered(message as Answer))
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${script} ended: ${signal ?? code}`))
      this.#waiting.clear()
    })
  }

  /** Rejects when the process cannot do it, or has ended. */
  ask<Result>(act: string, asked: object = {}): Promise<Result> {
    const id = ++this.#id
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (answer) => resolve(answer as Result), reject })
      this.#process.send({ id, act, ...asked }, (error) => {
        if (error) reject(error)
      })
    })
  }

  end(): void {
    this.#process.kill('SIGKILL')
  }

  #answered({ id, answer, error }: Answer): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(answer)
    else waiting?.reject(new Error(error))
  }
}
