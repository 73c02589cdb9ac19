#!/usr/bin/env node
import { main } from './main';

process.stdout.on('error', ({ code, message }: NodeJS.ErrnoException) => {
  // The reader of a pipe may leave early, as `head` does: no more output is wanted then.
  if (code === 'EPIPE') process.exit(0);
  process.stderr.write(`saccade: cannot write to stdout: ${message}\n`);
  process.exit(2);
});

// Nobody reads it any more, as when a terminal closes: what is at work still keeps what it has.
process.stderr.on('error', () => {});

process.exitCode = await main(process.argv.slice(2));
