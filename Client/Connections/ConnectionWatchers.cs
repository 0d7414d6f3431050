using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Microsoft.Extensions.Logging;

namespace Broker.Client.Connections;

/// <summary>
/// Tells what becomes of connections to whoever asks. It never waits for them: each has a queue of its own that leaves
/// out the oldest when it is full.
/// </summary>
internal sealed class ConnectionWatchers(TimeProvider time, ILogger logger)
{
    private const int MostWaiting = 256;

    private readonly Lock _lock = new();
    private readonly List<Watcher> _watchers = [];

    /// <summary>What was told last of each broker; as many as a client knows.</summary>
    private readonly Dictionary<Uri, Known> _known = [];
    private bool _isOver;

    public void Connected(Uri address)
    {
        lock (_lock)
        {
            _known.TryGetValue(address, out var known);
            if (_isOver || known.Last is { State: not BrokerConnectionState.Lost })
            {
                return;
            }

            var state = known.WasConnected ? BrokerConnectionState.Reconnected : BrokerConnectionState.Connected;
            Tell(new BrokerConnectionEvent(address, state, "", time.GetUtcNow()), wasConnected: true);
        }

        ClientLog.Connected(logger, address);
    }

    public void Lost(Uri address, string reason)
    {
        lock (_lock)
        {
            _known.TryGetValue(address, out var known);
            if (_isOver || known.Last is { State: BrokerConnectionState.Lost })
            {
                return;
            }

            Tell(
                new BrokerConnectionEvent(address, BrokerConnectionState.Lost, reason, time.GetUtcNow()),
                known.WasConnected);
        }

        ClientLog.Lost(logger, address, reason);
    }

    /// <summary>How it stands with each broker now, then what becomes of them, until the client is disposed.</summary>
    public async IAsyncEnumerable<BrokerConnectionEvent> WatchAsync(
        [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var watcher = new Watcher();
        lock (_lock)
        {
            foreach (var known in _known.Values)
            {
                watcher.Tell(known.Last);
            }

            if (_isOver)
            {
                watcher.Complete();
            }
            else
            {
                _watchers.Add(watcher);
            }
        }

        try
        {
            await foreach (var each in watcher.ReadAsync(cancellationToken))
            {
                yield return each;
            }
        }
        finally
        {
            lock (_lock)
            {
                _watchers.Remove(watcher);
            }
        }
    }

    /// <summary>The client is disposed: nothing will be told any more.</summary>
    public void Complete()
    {
        lock (_lock)
        {
            _isOver = true;
            _watchers.ForEach(static watcher => watcher.Complete());
        }
    }

    private void Tell(BrokerConnectionEvent each, bool wasConnected)
    {
        _known[each.Address] = new Known(each, wasConnected);
        _watchers.ForEach(watcher => watcher.Tell(each));
    }

    private readonly record struct Known(BrokerConnectionEvent Last, bool WasConnected);

    private sealed class Watcher
    {
        private readonly Channel<BrokerConnectionEvent> _waiting;
        private int _missed;

        public Watcher() => _waiting = Channel.CreateBounded<BrokerConnectionEvent>(
            new BoundedChannelOptions(MostWaiting) { FullMode = BoundedChannelFullMode.DropOldest },
            _ => Interlocked.Increment(ref _missed));

        public void Tell(BrokerConnectionEvent each) => _waiting.Writer.TryWrite(each);

        public void Complete() => _waiting.Writer.TryComplete();

        public async IAsyncEnumerable<BrokerConnectionEvent> ReadAsync(
            [EnumeratorCancellation] CancellationToken cancellationToken)
        {
            await foreach (var each in _waiting.Reader.ReadAllAsync(cancellationToken))
            {
                var missed = Interlocked.Exchange(ref _missed, 0);
                yield return missed == 0 ? each : each with { Missed = missed };
            }
        }
    }
}
