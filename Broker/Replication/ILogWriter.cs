using Broker.Storage;

namespace Broker.Replication;

/// <summary>Makes writes durable, one at a time per group, and tells the group afterwards.</summary>
public interface ILogWriter
{
    /// <summary>
    /// Executes write against log, later, on another thread (or at another virtual time), then has
    /// <see cref="ReplicaGroup.WriteCompleted"/> called on the loop. The group leaves write alone until then.
    /// </summary>
    void Submit(ReplicaGroup group, GroupLog log, LogWrite write);
}
