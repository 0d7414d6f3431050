using System.Diagnostics.CodeAnalysis;
using Broker.Domain;
using Broker.Protocol.V1;

namespace Broker.Transport;

/// <summary>
/// What waits for one peer's connection, within bounds. Any thread adds, one at a time takes whole envelopes.
/// <para>
/// Heartbeats are kept apart: those of all groups leave together, and before the messages that wait. Raft allows it, as
/// it allows a network to reorder: a heartbeat's commit index is clamped to what its follower has acknowledged, so it
/// never speaks of an entry that is still behind it; an answer's match index is a lower bound whenever it arrives; and
/// a context is confirmed by any answer that is given after the question.
/// </para>
/// </summary>
internal sealed class PeerOutbox(TimeProvider time)
{
    /// <summary>Messages gathered into one envelope. A larger message goes alone.</summary>
    public const int EnvelopeBytes = 1024 * 1024;

    /// <summary>What a heartbeat takes on the wire, about; for the figures only.</summary>
    private const int HeartbeatBytes = 12;

    /// <summary>
    /// How long the plain answer to a heartbeat waits for company, mostly this node's own next heartbeat: idle nodes
    /// send half as many envelopes so. Short beside the spans in which a leader counts its followers' answers.
    /// </summary>
    private static readonly TimeSpan AnswerTime = TimeSpan.FromMilliseconds(100);

    /// <summary>After so long without an envelope an empty one leaves: the peer sees that this node lives.</summary>
    private static readonly TimeSpan KeepAliveTime = TimeSpan.FromMilliseconds(500);

    private readonly Lock _gate = new();
    private readonly Queue<PeerMessage> _messages = [];
    private readonly List<PeerHeartbeat> _heartbeats = [];

    /// <summary>Where in the list the newest heartbeat and the newest answer of each group stand.</summary>
    private readonly Dictionary<(uint Group, bool Answer), int> _newest = [];

    private long _messageBytes;
    private bool _isReady;
    private bool _hasNews; // a heartbeat waits that is no plain answer
    private long _firstHeartbeatAt;
    private long _takenAt = time.GetTimestamp();

    /// <summary>Adds to what leaves with the next Flush. False: the message is dropped, too much waits.</summary>
    public bool TryAdd(PeerMessage message)
    {
        var heartbeat = PeerHeartbeats.TryFold(message);
        var size = heartbeat is null ? SizeBytes(message) : 0;
        lock (_gate)
        {
            if (heartbeat is not null)
            {
                return TryAdd(heartbeat);
            }

            if (_messages.Count >= Limits.MessagesPerPeerQueue
                || (_messages.Count > 0 && _messageBytes + size > Limits.PeerQueueBytes))
            {
                return false;
            }

            _messages.Enqueue(message);
            _messageBytes += size;
            return true;
        }
    }

    /// <summary>Something is to leave now, as the last flush decided.</summary>
    public bool IsReady
    {
        get
        {
            lock (_gate)
            {
                return _isReady;
            }
        }
    }

    /// <summary>
    /// The groups have said what they had to say: decides whether something is to leave now, and tells about how much
    /// waits. Plain answers to heartbeats may wait for company; what else there is takes them along. After a pause an
    /// empty envelope is sent too.
    /// </summary>
    public bool TryMakeReady(out long bytes)
    {
        lock (_gate)
        {
            bytes = _messageBytes + (_heartbeats.Count * HeartbeatBytes);
            _isReady |= _messages.Count > 0
                || _hasNews
                || (_heartbeats.Count > 0 && time.GetElapsedTime(_firstHeartbeatAt) >= AnswerTime)
                || time.GetElapsedTime(_takenAt) >= KeepAliveTime;
            return _isReady;
        }
    }

    public void Clear()
    {
        lock (_gate)
        {
            _messages.Clear();
            _messageBytes = 0;
            _isReady = false;
            ClearHeartbeats();
        }
    }

    /// <summary>Takes what is ready, up to about so many bytes. False: nothing is, or nothing so small.</summary>
    public bool TryTake(int maxBytes, [NotNullWhen(true)] out PeerEnvelope? envelope)
    {
        lock (_gate)
        {
            envelope = null;
            if (!_isReady || (_messages.TryPeek(out var first) && maxBytes < EnvelopeBytes
                && SizeBytes(first) > maxBytes))
            {
                return false;
            }

            _takenAt = time.GetTimestamp();
            envelope = new PeerEnvelope();
            var bytes = _heartbeats.Count * HeartbeatBytes;
            envelope.Heartbeats.AddRange(_heartbeats);
            ClearHeartbeats();
            while (_messages.TryPeek(out var next))
            {
                var size = SizeBytes(next);
                if (envelope.Messages.Count > 0 && bytes + size > maxBytes)
                {
                    break;
                }

                envelope.Messages.Add(_messages.Dequeue());
                _messageBytes -= size;
                bytes += size;
            }

            _isReady = _messages.Count > 0;
            return true;
        }
    }

    // Without foreach: the enumerator of a repeated field is an object.
    private static int SizeBytes(PeerMessage message)
    {
        var bytes = 64;
        for (var i = 0; i < message.Entries.Count; i++)
        {
            bytes += message.Entries[i].Body.Length + LogEntry.OverheadBytes;
        }

        return bytes;
    }

    private bool TryAdd(PeerHeartbeat heartbeat)
    {
        var key = (heartbeat.Group, heartbeat.Answer);
        if (_newest.TryGetValue(key, out var at) && PeerHeartbeats.Supersedes(heartbeat, _heartbeats[at]))
        {
            _heartbeats[at] = heartbeat;
        }
        else if (_heartbeats.Count < Limits.HeartbeatsPerPeerQueue)
        {
            _firstHeartbeatAt = _heartbeats.Count == 0 ? time.GetTimestamp() : _firstHeartbeatAt;
            _newest[key] = _heartbeats.Count;
            _heartbeats.Add(heartbeat);
        }
        else
        {
            return false;
        }

        _hasNews |= heartbeat is not { Answer: true, Context: 0, Reject: false, Lost: false, LearnerSince: 0 };
        return true;
    }

    private void ClearHeartbeats()
    {
        _heartbeats.Clear();
        _newest.Clear();
        _hasNews = false;
    }
}
