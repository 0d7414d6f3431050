using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Tells Postgres that this process' producer is alive, and whether relays may have taken it for dead. They do when
/// Postgres has not heard of it for <see cref="PublisherOptions.DeadAfter"/>, as after a long restart, and may then
/// give its rows other stamps.
/// </summary>
internal sealed class ProducerLife(
    OutboxStore store, SequenceBook book, PublisherOptions options, TimeProvider time)
{
    private readonly Lock _lock = new();
    private long _producerId;
    private long _seenAt;
    private long? _doubtedAt;

    public async Task TouchAsync(long producerId, CancellationToken cancellationToken)
    {
        var began = time.GetTimestamp();
        await store.TouchProducerAsync(producerId, cancellationToken);
        lock (_lock)
        {
            if (producerId != book.ProducerId)
            {
                return;  // It was given up meanwhile.
            }

            // Postgres heard of it at some time between begin and end: the gap before may be as long as until now.
            if (_producerId != producerId)
            {
                (_producerId, _seenAt, _doubtedAt) = (producerId, began, null);
            }
            else if (time.GetElapsedTime(_seenAt) >= options.DeadAfter)
            {
                _doubtedAt = time.GetTimestamp();
            }

            _seenAt = Math.Max(_seenAt, began);
        }
    }

    /// <summary>Whether a relay may have taken a producer since a timestamp of the time provider.</summary>
    public bool MayBeTakenSince(long producerId, long timestamp)
    {
        lock (_lock)
        {
            return _producerId != producerId || _doubtedAt >= timestamp
                || time.GetElapsedTime(_seenAt) >= options.DeadAfter;
        }
    }
}
