using System.Data.Common;
using System.Threading.Channels;
using Broker.ServiceDefaults;
using Publisher.Outbox;

namespace Publisher.Sending;

/// <summary>
/// Marks acknowledged chunks in the outbox, many at a time and behind the answers to the callers. A crash before the
/// mark makes the relay send the chunk again, and the brokers answer with the same offset.
/// </summary>
internal sealed class MarkQueue(
    OutboxStore store, PublisherMetrics metrics, TimeProvider time, ILogger<MarkQueue> logger) : BackgroundService
{
    private readonly Channel<Mark> _marks = Channel.CreateBounded<Mark>(
        new BoundedChannelOptions(PublisherLimits.WaitingMarks) { SingleReader = true });

    public ValueTask AddAsync(Chunk chunk, BatchAck ack, CancellationToken cancellationToken) =>
        _marks.Writer.WriteAsync(new Mark(chunk, ack, null), cancellationToken);

    /// <summary>Waits until everything added before is marked.</summary>
    public async Task FlushAsync(CancellationToken cancellationToken)
    {
        var barrier = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await _marks.Writer.WriteAsync(new Mark(null, default, barrier), cancellationToken);
        await barrier.Task.WaitAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var acks = new List<(Chunk Chunk, BatchAck Ack)>();
        var barriers = new List<TaskCompletionSource>();
        while (await _marks.Reader.WaitToReadAsync(stoppingToken))
        {
            while (acks.Count < PublisherLimits.MarkChunks && _marks.Reader.TryRead(out var mark))
            {
                Sort(mark, acks, barriers);
            }

            if (acks.Count > 0)
            {
                await MarkAsync(acks, stoppingToken);
            }

            barriers.ForEach(barrier => barrier.TrySetResult());
            acks.Clear();
            barriers.Clear();
        }
    }

    private static void Sort(
        Mark mark, List<(Chunk Chunk, BatchAck Ack)> acks, List<TaskCompletionSource> barriers)
    {
        if (mark.Chunk is not null)
        {
            acks.Add((mark.Chunk, mark.Ack));
        }
        else
        {
            barriers.Add(mark.Barrier!);
        }
    }

    private async Task MarkAsync(List<(Chunk Chunk, BatchAck Ack)> acks, CancellationToken stoppingToken)
    {
        var backoff = new Backoff(TimeSpan.FromMilliseconds(50), TimeSpan.FromSeconds(1), time);
        while (true)
        {
            try
            {
                metrics.Marked(await store.MarkAsync(acks, stoppingToken));
                return;
            }
            catch (Exception e) when (e is DbException or TimeoutException)
            {
                if (backoff.Attempts == 0)
                {
                    logger.MarksWait(acks.Count, e);
                }

                await backoff.WaitAsync(stoppingToken);
            }
        }
    }

    private readonly record struct Mark(Chunk? Chunk, BatchAck Ack, TaskCompletionSource? Barrier);
}
