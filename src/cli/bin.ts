#!/usr/bin/env node
import { main } from './main';

// The reader of a pipe may leave early, as `head` does: no more output is wanted then.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

process.exitCode = await main(process.argv.slice(2));
