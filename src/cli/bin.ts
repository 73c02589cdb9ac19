#!/usr/bin/env node
import { main } from './main';

process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  // The reader of a pipe may quit early, as `head` does: then no more output is wanted.
  if (code === 'EPIPE') process.exit(0);
  process.stderr.write(`saccade: cannot write to stdout: ${message}\n`);
  process.exit(2);
});

// If nobody reads it any more, as when a terminal closes, work goes on and saves what it has.
process.stderr.on('error', () => {});

process.exitCode = await main(process.argv.slice(2));
