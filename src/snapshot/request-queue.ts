/** What is to be sent, as the async iterable that a streaming call takes. Ends after `close`; pushing then does nothing. */
export class RequestQueue<M> implements AsyncIterable<M> {
  readonly #pending: M[] = [];
  #closed = false;
  #wake: () => void = () => undefined;

  push(message: M): void {
    if (this.#closed) return;
    this.#pending.push(message);
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<M> {
    for (;;) {
      const next = this.#pending.shift();
      if (next !== undefined) yield next;
      else if (this.#closed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
