using System.Collections.Concurrent;
using Broker.Protocol.Wire;
using Microsoft.Extensions.Logging;

namespace Broker.Client.Connections;

/// <summary>All brokers that the client knows, and who leads which topic as far as they said.</summary>
internal sealed class BrokerConnections : IDisposable
{
    /// <summary>Brokers beyond it are not learned: any broker forwards to the leader, so none is needed.</summary>
    private const int MaxConnections = 64;

    /// <summary>
    /// As many as a cluster may have. A full map is emptied: it is a memory aid, and fills again by itself.
    /// </summary>
    private const int MaxTopics = 100_000;

    private readonly Lock _lock = new();
    private readonly BrokerClientOptions _options;
    private readonly TimeProvider _time;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _logger;
    private readonly ConnectionWatchers _watchers;
    private readonly ConcurrentDictionary<string, BrokerConnection> _leaders = new(StringComparer.Ordinal);
    private readonly Dictionary<string, BrokerConnection> _byText = new(StringComparer.Ordinal);
    private volatile BrokerConnection[] _all = [];
    private bool _disposed;
    private int _turn;
    private long _leadersVersion = 1;

    public BrokerConnections(
        BrokerClientOptions options,
        TimeProvider time,
        ILoggerFactory loggers,
        ILogger logger,
        ConnectionWatchers watchers)
    {
        _watchers = watchers;
        _options = options;
        _time = time;
        _loggers = loggers;
        _logger = logger;

        // Clients that start together begin at different brokers.
        _turn = Random.Shared.Next(options.Addresses.Count);
        foreach (var address in options.Addresses)
        {
            Find(address.AbsoluteUri);
        }
    }

    public IReadOnlyList<BrokerConnection> All => _all;

    /// <summary>
    /// Where to send a request about a topic: to its leader; when that is unknown or ails, to the others in turn.
    /// </summary>
    public BrokerConnection Choose(string topic) =>
        _leaders.TryGetValue(topic, out var leader) && !leader.IsAvoided ? leader : Next();

    /// <summary>
    /// Who leads the topic; null when that is unknown, or the leader failed just now. For who asks again and again: it
    /// is looked up only when some topic's leader has changed since.
    /// </summary>
    public BrokerConnection? LeaderOf(string topic, ref KnownLeader known)
    {
        // The number is read first: whoever changes the map meanwhile changes the number after it.
        var version = Volatile.Read(ref _leadersVersion);
        if (known.Version != version)
        {
            _leaders.TryGetValue(topic, out var leader);
            known = new KnownLeader(leader, version);
        }

        return known.Leader is { IsAvoided: false } ? known.Leader : null;
    }

    /// <summary>
    /// The next broker in turn that did not fail just now; if all did, the one whose failure is the longest ago.
    /// </summary>
    public BrokerConnection Next()
    {
        var all = _all;
        var turn = (uint)Interlocked.Increment(ref _turn);
        BrokerConnection? best = null;
        for (var i = 0u; i < all.Length; i++)
        {
            var candidate = all[(turn + i) % (uint)all.Length];
            if (!candidate.IsAvoided)
            {
                return candidate;
            }

            best = best is null || candidate.AvoidUntil < best.AvoidUntil ? candidate : best;
        }

        return best ?? throw new ObjectDisposedException(nameof(BrokerClient));
    }

    /// <param name="topic">The topic.</param>
    /// <param name="leader">Who leads it; null: that was not told.</param>
    /// <param name="known">As in <see cref="LeaderOf"/>: mostly nothing is new.</param>
    public void Learn(string topic, NodeAddress? leader, in KnownLeader known)
    {
        if (leader is null || leader.Address.Length == 0
            || (known.Version == Volatile.Read(ref _leadersVersion)
                && known.Leader?.Address.OriginalString == leader.Address))
        {
            return;
        }

        if (_leaders.TryGetValue(topic, out var former) && former.Address.OriginalString == leader.Address)
        {
            return;
        }

        if (Find(leader.Address) is { } connection && connection != former)
        {
            if (_leaders.Count >= MaxTopics)
            {
                _leaders.Clear();
            }

            _leaders[topic] = connection;
            Interlocked.Increment(ref _leadersVersion);
            ClientLog.LeaderLearned(_logger, topic, connection.Address);
        }
    }

    /// <summary>Forgets who leads a topic, if it was that one.</summary>
    public void ForgetLeader(string topic, BrokerConnection leader)
    {
        if (_leaders.TryRemove(new KeyValuePair<string, BrokerConnection>(topic, leader)))
        {
            Interlocked.Increment(ref _leadersVersion);
        }
    }

    /// <summary>
    /// The connection to an address, made when it is new; null when the address is no use or there are too many.
    /// </summary>
    public BrokerConnection? Find(string address)
    {
        lock (_lock)
        {
            if (_byText.TryGetValue(address, out var connection))
            {
                return connection;
            }

            if (_disposed
                || _byText.Count >= MaxConnections * 2
                || !Uri.TryCreate(address, UriKind.Absolute, out var uri)
                || uri.Scheme is not ("http" or "https")
                || (_options.Credentials is not null && !AuthorizationHandler.IsSafe(uri)))
            {
                return null;
            }

            connection = _all.FirstOrDefault(c => c.Address == uri);
            if (connection is null)
            {
                if (_all.Length >= MaxConnections)
                {
                    return null;
                }

                connection = new BrokerConnection(uri, _options, _time, _loggers, _logger, _watchers);
                _all = [.. _all, connection];
            }

            _byText[address] = connection;
            return connection;
        }
    }

    public void CheckSilence(long now)
    {
        foreach (var connection in _all)
        {
            connection.CheckSilence(now);
        }
    }

    public void Dispose()
    {
        BrokerConnection[] all;
        lock (_lock)
        {
            _disposed = true;
            all = _all;
        }

        foreach (var connection in all)
        {
            connection.Dispose();
        }
    }
}

/// <summary>Who led a topic (null: unknown) when the leaders had that number. The default is of no time.</summary>
internal readonly record struct KnownLeader(BrokerConnection? Leader, long Version);
