/**
 * To be awaited between steps of long work, so that progress shows and events such as an abort are handled. A message
 * and not a timer, since browsers let those of a hidden page wait for a second or more.
 */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      // Open, it would keep a process of Node's alive.
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
