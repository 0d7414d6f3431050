namespace Broker.Replication;

/// <summary>Takes work that would hold a group's loop up: reading and writing files beside the log.</summary>
public interface IBackgroundWork
{
    /// <summary>
    /// Runs work later, on another thread or at another virtual time; the works of one group one after the other, in
    /// the order in which they were given. Work hands its result to its group as other threads do. Never blocks.
    /// </summary>
    void Run(ReplicaGroup group, Action work);

    /// <summary>As for the log writer: this group's work shall wait for that of other groups no more.</summary>
    void Expedite(ReplicaGroup group);
}
