using System.Collections.Concurrent;

namespace Publisher.Sending;

/// <summary>All lanes of this process. A lane's pump runs only while the lane has something to send.</summary>
internal sealed class LaneTable(LaneSender sender, SequenceBook book) : IHostedService, IDisposable
{
    private readonly ConcurrentDictionary<(long ProducerId, string Topic), Lane> _lanes = new();
    private readonly ConcurrentDictionary<Lane, Task> _pumps = new();
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>Queues a stored chunk behind those of its topic. Only the writer calls it.</summary>
    public void Enqueue(Chunk chunk)
    {
        sender.Hold(chunk);
        var lane = _lanes.GetOrAdd((chunk.ProducerId, chunk.Topic), key => new Lane(key.ProducerId, key.Topic));
        if (lane.Add(chunk))
        {
            _pumps[lane] = Task.Run(() => PumpAsync(lane), _stopping.Token);
        }
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Stops sending: what is not acknowledged is in Postgres, and relayed by the next process.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_pumps.Values).WaitAsync(cancellationToken).ConfigureAwait(
            ConfigureAwaitOptions.SuppressThrowing);
    }

    public void Dispose() => _stopping.Dispose();

    private async Task PumpAsync(Lane lane)
    {
        await sender.PumpAsync(lane, _stopping.Token);
        if (lane.ProducerId != book.ProducerId)
        {
            _lanes.TryRemove((lane.ProducerId, lane.Topic), out _);  // A retired id gets no more chunks.
            _pumps.TryRemove(lane, out _);
        }
    }
}
