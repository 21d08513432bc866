import type { ChildProcess } from 'node:child_process'

type Task = (...given: never[]) => unknown

/** A process that does what it is asked, one thing after the other, and answers. */
export class Asked {
  readonly child: ChildProcess
  #last: Promise<unknown> = Promise.resolve()

  constructor(child: ChildProcess) {
    this.child = child
  }

  ask<T>(task: string, given?: unknown): Promise<T> {
    const answer = this.#last.then(() => this.#ask<T>(task, given))
    this.#last = answer.catch(() => {})
    return answer
  }

  #ask<T>(task: string, given: unknown): Promise<T> {
    return new Promise((done, fail) => {
      const ended = (code: number | null) =>
        fail(new Error(`the process asked to ${task} ended with ${code}`))
      this.child.once('exit', ended)
      this.child.once('message', ({ result }: { result: T }) => {
        this.child.off('exit', ended)
        done(result)
      })
      this.child.send({ task, given })
    })
  }

  /** It ends by itself, so that a profile of it is written. */
  end(): void {
    this.child.disconnect()
  }

  /** In the child: these are its tasks. */
  static answer(tasks: Readonly<Record<string, Task>>): void {
    process.on('message', async ({ task, given }: { task: string; given: never }) => {
      process.send!({ result: await tasks[task]!(given) })
    })
    process.once('disconnect', () => process.exit())
  }
}
