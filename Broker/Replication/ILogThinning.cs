using System.Buffers;
using Broker.Domain;

namespace Broker.Replication;

/// <summary>
/// What of the log's sealed segments a state machine still wants, as of the moment when it was asked. It only ever
/// becomes less. For one background thread.
/// </summary>
public interface ILogThinning
{
    /// <summary>
    /// Adds, by the first entry of a segment, how many bytes of it are wanted, or more; a segment of which nothing is
    /// wanted is left out.
    /// </summary>
    void AddKeptBytes(Dictionary<LogIndex, long> bySegment);

    /// <summary>
    /// Begins with a sealed segment whose index file is in use, or with several in a row of which nothing is wanted.
    /// Null: it must stay as it is, since it is not known what of it is wanted.
    /// </summary>
    IEntryThinner? TryBegin(LogIndex first, LogIndex last);

    /// <summary>
    /// Writes the directory of an index file for segments of which nothing is wanted; it has no body.
    /// </summary>
    void WriteGoneIndex(IBufferWriter<byte> directory);
}

/// <summary>Takes out of the entries of one segment what is not wanted any more.</summary>
public interface IEntryThinner
{
    /// <summary>
    /// The same entry, when all of it is wanted; else one that gives the same results and the same state when it is
    /// applied, by itself or in a row with others, thinned or not.
    /// </summary>
    LogEntry Thin(LogEntry entry);
}
