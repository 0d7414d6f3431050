using Broker.Protocol.V1;

namespace Broker.Transport;

/// <summary>
/// Heartbeats and their answers in their short form, see peer.proto: about twelve bytes where a message of its own
/// takes thirty.
/// </summary>
internal static class PeerHeartbeats
{
    // Numbers of Consensus/RaftMessageKind, a room that this one does not use; a test compares them.
    public const uint HeartbeatKind = 7;
    public const uint AnswerKind = 8;
    public const uint InstallSnapshotKind = 10;

    /// <summary>
    /// The short form; null when the message is of another kind or has a field that the short form has not.
    /// </summary>
    public static PeerHeartbeat? TryFold(PeerMessage message)
    {
        var isAnswer = message.Kind == AnswerKind;
        if ((!isAnswer && message.Kind != HeartbeatKind)
            || (isAnswer ? message.CommitIndex : message.LogIndex) != 0
            || message.LogTerm != 0 || message.RejectHint != 0 || message.Force || message.Led
            || message.Entries.Count != 0 || message.ConfigurationIndex != 0 || message.Configuration.Length != 0)
        {
            return null;
        }

        return new PeerHeartbeat
        {
            Group = message.Group,
            Term = message.Term,
            Index = isAnswer ? message.LogIndex : message.CommitIndex,
            Answer = isAnswer,
            Reject = message.Reject,
            Context = message.Context,
            LearnerSince = message.LearnerSince,
            Lost = message.Lost,
            Hollow = message.Hollow,
        };
    }

    public static PeerMessage Unfold(PeerHeartbeat heartbeat, uint from, uint to) => new()
    {
        Group = heartbeat.Group,
        Kind = heartbeat.Answer ? AnswerKind : HeartbeatKind,
        From = from,
        To = to,
        Term = heartbeat.Term,
        LogIndex = heartbeat.Answer ? heartbeat.Index : 0,
        CommitIndex = heartbeat.Answer ? 0 : heartbeat.Index,
        Reject = heartbeat.Reject,
        Context = heartbeat.Context,
        LearnerSince = heartbeat.LearnerSince,
        Lost = heartbeat.Lost,
        Hollow = heartbeat.Hollow,
    };

    /// <summary>
    /// Whether the newer one says all that the older one said: the same but for an index that has moved. One with
    /// another context must be answered for itself.
    /// </summary>
    public static bool Supersedes(PeerHeartbeat newer, PeerHeartbeat older) =>
        newer.Term == older.Term
        && newer.Context == older.Context
        && newer.Reject == older.Reject
        && newer.LearnerSince == older.LearnerSince
        && newer.Lost == older.Lost
        && newer.Hollow == older.Hollow;
}
