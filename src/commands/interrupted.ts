/** Resolves at ctrl-C or SIGTERM, or after so many seconds. */
export function interrupted(seconds?: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = seconds === undefined ? undefined : setTimeout(end, seconds * 1000)
    function end(): void {
      clearTimeout(timer)
      process.off('SIGINT', end).off('SIGTERM', end)
      resolve()
    }
    process.on('SIGINT', end).on('SIGTERM', end)
  })
}
