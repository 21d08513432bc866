// The closing line of .ci/run: `N passed, N failed, N skipped`, the sum of vitest's JSON reports.
import { readFileSync } from 'node:fs'

const reports = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')))
const sum = (...fields) =>
  reports.flatMap((report) => fields.map((field) => report[field])).reduce((a, b) => a + b)
console.log(
  `${sum('numPassedTests')} passed, ${sum('numFailedTests')} failed, ${sum('numPendingTests', 'numTodoTests')} skipped`,
)
