using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Broker.ClusterState;
using Broker.Domain;
using Broker.Groups;

namespace Broker.Delivery;

/// <summary>
/// A consumer of this node's: it stays open at the leaders of all data shards, whoever these are, and what they deliver
/// comes together here, as much as its credit allows.
/// </summary>
internal sealed class GroupSession : IGroupSession
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(50);

    /// <summary>A consumer hears within this time that a part of its group cannot be served.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(9);

    private readonly ConsumerGroupRouter _router;
    private readonly ConsumerGroup _group;
    private readonly string _consumer;
    private readonly SessionKey _key;
    private readonly long _openedUnixMs;
    private readonly Lock _lock = new();
    private readonly SessionCredit _credit = new();
    private readonly CancellationTokenSource _closing = new();
    private readonly List<Task> _keeping = [];
    private readonly TaskCompletionSource _quiet = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _notQuiet;

    // What stands in it has been taken from the credit.
    private readonly Channel<(GroupId Shard, GroupDelivery Delivery)> _deliveries =
        Channel.CreateUnbounded<(GroupId, GroupDelivery)>(new UnboundedChannelOptions { SingleReader = true });

    public GroupSession(ConsumerGroupRouter router, ConsumerGroup group, string consumer, SessionKey key)
    {
        (_router, _group, _consumer, _key) = (router, group, consumer, key);
        _openedUnixMs = router.Time.GetUtcNow().ToUnixTimeMilliseconds();
        _notQuiet = router.Shards.Count;
        foreach (var shard in router.Shards)
        {
            var part = new Part(this, shard);
            _keeping.Add(Task.Run(() => KeepOpenAsync(part)));
        }
    }

    public Task AllQuiet => _quiet.Task;

    public void AddCredit(int records, long bytes)
    {
        lock (_lock)
        {
            _credit.Add(records, bytes);
        }
    }

    public async IAsyncEnumerable<GroupDelivery> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        await foreach (var (_, delivery) in _deliveries.Reader.ReadAllAsync(cancellationToken))
        {
            yield return delivery;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync();
        await Task.WhenAll(_keeping);
        _deliveries.Writer.TryComplete();
        while (_deliveries.Reader.TryRead(out var unread))
        {
            if (DeliveryTokens.TryDecode(unread.Delivery.Token.Span, out var shard, out var group, out var token))
            {
                _router.TryGiveBack(shard, group, token);
            }
        }

        _router.Closed(this);
        _closing.Dispose();
    }

    private async Task KeepOpenAsync(Part part)
    {
        var lostAt = _router.Time.GetTimestamp();
        while (!_closing.IsCancellationRequested)
        {
            var (why, wasOpen) = await ServeAsync(part, LostAfter - _router.Time.GetElapsedTime(lostAt));
            lostAt = wasOpen ? _router.Time.GetTimestamp() : lostAt;
            if (why is null)
            {
                return;
            }

            var isLost = _router.Time.GetElapsedTime(lostAt) >= LostAfter;
            if (why.Code is RefusalCode.NotFound or RefusalCode.Stopping || isLost)
            {
                _deliveries.Writer.TryComplete(isLost ? Refusal.NoLeader(part.Shard) : why);
                return;
            }

            await Task.Delay(RetryInterval, _router.Time, _closing.Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Until it ends; null: the session is closed. And whether the shard had begun to serve it.</summary>
    private async Task<(BrokerException? Why, bool WasOpen)> ServeAsync(Part part, TimeSpan patience)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(_closing.Token);
        try
        {
            var (leader, shard) = await _router.FindAsync(part.Shard, ending.Token);
            var turn = part.Begin(shard);
            shard.Open(_key, _openedUnixMs, _group.Number, _consumer, turn);
            var moved = _router.UntilMovedAsync(part.Shard, leader, ending.Token);
            var tooLate = Task.Delay(patience > TimeSpan.Zero ? patience : TimeSpan.Zero, _router.Time, ending.Token);
            await Task.WhenAny(turn.Begun, turn.End, moved, tooLate);
            if (turn.Begun.IsCompleted)
            {
                await Task.WhenAny(turn.End, moved);
            }

            await ending.CancelAsync();
            part.EndTurn(turn);
            shard.Close(_key, turn);
            var why = _closing.IsCancellationRequested ? null
                : turn.End.IsCompleted ? await turn.End
                : Refusal.NoLeader(part.Shard);
            return (why, turn.Begun.IsCompleted);
        }
        catch (BrokerException refusal)
        {
            return (refusal, false);
        }
        catch (OperationCanceledException)
        {
            return (null, false);
        }
    }

    /// <summary>One shard's part of the session.</summary>
    private sealed class Part
    {
        private readonly GroupSession _session;
        private IGroupShard? _target;
        private Turn? _turn;
        private bool _wasQuiet;

        public Part(GroupSession session, GroupId shard)
        {
            (_session, Shard) = (session, shard);
            Credit = session._credit.Add(
                (records, bytes) => _target?.AddCredit(session._key, records, bytes),
                () => _target?.Recall(session._key));
        }

        public GroupId Shard { get; }

        public ShardCredit Credit { get; }

        public Turn Begin(IGroupShard target)
        {
            lock (_session._lock)
            {
                _target = target;
                return _turn = new Turn(this);
            }
        }

        public void EndTurn(Turn turn)
        {
            lock (_session._lock)
            {
                if (_turn == turn)
                {
                    (_target, _turn) = (null, null);
                    _session._credit.Closed(Credit);
                }
            }
        }

        public void Deliver(Turn turn, in GroupDelivery delivery)
        {
            lock (_session._lock)
            {
                if (_turn == turn && _session._deliveries.Writer.TryWrite((Shard, delivery)))
                {
                    SessionCredit.Sent(Credit, delivery.Count, delivery.Batch.Length);
                    return;
                }
            }

            if (DeliveryTokens.TryDecode(delivery.Token.Span, out var shard, out var group, out var token))
            {
                _session._router.TryGiveBack(shard, group, token);
            }
        }

        public void Quiet(Turn turn)
        {
            lock (_session._lock)
            {
                if (_turn == turn && !_wasQuiet)
                {
                    _wasQuiet = true;
                    if (--_session._notQuiet == 0)
                    {
                        _session._quiet.TrySetResult();
                    }
                }
            }
        }

        public void OnCredit(Turn turn, Action<SessionCredit> then)
        {
            lock (_session._lock)
            {
                if (_turn == turn)
                {
                    then(_session._credit);
                }
            }
        }
    }

    /// <summary>What one leader of a shard says, until it ends.</summary>
    private sealed class Turn(Part part) : IGroupOutlet
    {
        private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource<BrokerException> _end =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Begun => _begun.Task;

        public Task<BrokerException> End => _end.Task;

        public void Opened()
        {
            part.OnCredit(this, credit => credit.Opened(part.Credit));
            _begun.TrySetResult();
        }

        public void Deliver(in GroupDelivery delivery) => part.Deliver(this, delivery);

        public void WantsCredit() => part.OnCredit(this, credit => credit.Wants(part.Credit));

        public void Quiet() => part.Quiet(this);

        public void Returned(int records, long bytes) =>
            part.OnCredit(this, credit => credit.Returned(part.Credit, records, bytes));

        public void Ended(BrokerException why) => _end.TrySetResult(why);
    }
}
