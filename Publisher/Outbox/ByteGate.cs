namespace Publisher.Outbox;

/// <summary>
/// Bounds the bytes that are inside at once. Who finds it full waits its turn, first come, first served.
/// </summary>
internal sealed class ByteGate(long limitBytes)
{
    private readonly Lock _lock = new();
    private readonly LinkedList<Waiter> _waiters = new();
    private long _insideBytes;

    public long InsideBytes => Interlocked.Read(ref _insideBytes);

    /// <summary>Enters at once or when others have left. Something above the limit enters an empty gate.</summary>
    public Task EnterAsync(long sizeBytes, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            if (_waiters.Count == 0 && Fits(sizeBytes))
            {
                _insideBytes += sizeBytes;
                return Task.CompletedTask;
            }

            return WaitAsync(_waiters.AddLast(new Waiter(sizeBytes)), cancellationToken);
        }
    }

    public void Exit(long sizeBytes)
    {
        lock (_lock)
        {
            _insideBytes -= sizeBytes;
            Admit();
        }
    }

    private bool Fits(long sizeBytes) => _insideBytes == 0 || _insideBytes + sizeBytes <= limitBytes;

    private void Admit()
    {
        while (_waiters.First is { } first && Fits(first.Value.SizeBytes))
        {
            _waiters.RemoveFirst();
            _insideBytes += first.Value.SizeBytes;
            first.Value.Entered.TrySetResult();
        }
    }

    private async Task WaitAsync(LinkedListNode<Waiter> node, CancellationToken cancellationToken)
    {
        try
        {
            await node.Value.Entered.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            Leave(node);
            throw;
        }
    }

    // A waiter that gives up may have been admitted in the same moment: then it leaves as one who was inside.
    private void Leave(LinkedListNode<Waiter> node)
    {
        lock (_lock)
        {
            if (node.List is not null)
            {
                _waiters.Remove(node);
            }
            else
            {
                _insideBytes -= node.Value.SizeBytes;
            }

            Admit();
        }
    }

    private sealed class Waiter(long sizeBytes)
    {
        public long SizeBytes { get; } = sizeBytes;

        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
