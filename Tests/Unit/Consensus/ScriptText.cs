using System.Globalization;
using Broker.Consensus;
using Broker.Domain;

namespace Broker.Tests.Unit.Consensus;

/// <summary>The words of a trace: for each kind of message the fields that it names, under their own names.</summary>
internal static class ScriptText
{
    private const long FirstLoss = 1L << 62;

    public static string Describe(RaftMessage message)
    {
        var detail = message.Kind switch
        {
            _ when message.Lost => "lost" + Context(message),
            RaftMessageKind.AppendEntries =>
                $"after {message.LogIndex}/{message.LogTerm} commit {message.CommitIndex}"
                + (message.EntryCount > 0 ? $" entries {Entries(message.LogIndex.Next(), message.EntryTerms)}" : "")
                + (message.Context != 0 ? " answer" : ""),
            RaftMessageKind.AppendEntriesResponse when message.Reject =>
                $"rejects {message.LogIndex} hint {message.RejectHint}/{message.LogTerm}",
            RaftMessageKind.InstallSnapshot =>
                $"at {message.LogIndex}/{message.LogTerm} commit {message.CommitIndex}",
            RaftMessageKind.RequestSnapshot => $"beyond {message.LogIndex}",
            RaftMessageKind.AppendEntriesResponse =>
                $"flushed {message.LogIndex} agrees {message.RejectHint}" + (message.Force ? " awaits" : ""),
            RaftMessageKind.RequestVote or RaftMessageKind.RequestPreVote =>
                $"last {message.LogIndex}/{message.LogTerm}" + (message.Force ? " force" : "") + Context(message),
            RaftMessageKind.RequestVoteResponse or RaftMessageKind.RequestPreVoteResponse =>
                (message.Reject ? "refused" : "granted") + Context(message),
            RaftMessageKind.Heartbeat when message.LearnerSince > LogIndex.None =>
                $"commit {message.CommitIndex} learner since {message.LearnerSince}" + Context(message),
            RaftMessageKind.Heartbeat => $"commit {message.CommitIndex}" + Context(message),
            RaftMessageKind.HeartbeatResponse =>
                (message.Reject ? "refused" : $"flushed {message.LogIndex}") + Context(message),
            _ => "",
        };
        return $"{Route(message)} t{message.Term} {detail}".TrimEnd();
    }

    /// <summary>Which message, in as few words as tell it from others on the same way.</summary>
    public static string Name(RaftMessage message) => message.Kind == RaftMessageKind.AppendEntries
        ? $"{Route(message)} after {message.LogIndex}" + (message.EntryCount > 0 ? $" +{message.EntryCount}" : "")
        : Route(message);

    public static string Route(RaftMessage message) => $"{message.Kind} {message.From}->{message.To}";

    /// <summary>Entries by their terms, equal ones together: <c>1..3 t1, 4 t2</c>.</summary>
    public static string Entries(LogIndex first, IReadOnlyList<Term> terms)
    {
        var runs = new List<string>();
        for (var from = 0; from < terms.Count;)
        {
            var to = from;
            while (to + 1 < terms.Count && terms[to + 1] == terms[from])
            {
                to++;
            }

            runs.Add((from == to ? $"{first + from}" : $"{first + from}..{first + to}") + $" t{terms[from]}");
            from = to + 1;
        }

        return runs.Count == 0 ? "none" : string.Join(", ", runs);
    }

    public static int Number(string word) => int.Parse(word, NumberStyles.None, CultureInfo.InvariantCulture);

    public static string Members(GroupConfiguration members) =>
        members.Voters.Length + members.Learners.Length == 0 ? "nobody" : members.ToString();

    /// <summary>Losses are numbered from 2 to the power of 62 on, rounds of heartbeats and pre-votes from 1.</summary>
    private static string Context(RaftMessage message) => message.Context switch
    {
        0 => "",
        < FirstLoss => string.Create(CultureInfo.InvariantCulture, $" round {message.Context}"),
        _ => string.Create(CultureInfo.InvariantCulture, $" loss {message.Context - FirstLoss}"),
    };
}
