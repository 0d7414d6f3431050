using Broker.Storage;

namespace Broker.Replication;

/// <summary>Makes writes durable, one at a time per group, and tells the group afterwards.</summary>
public interface ILogWriter
{
    /// <summary>
    /// Executes write against log, later, on another thread (or at another virtual time), then calls
    /// <see cref="ReplicaGroup.WriteCompleted"/>, or <see cref="ReplicaGroup.WriteFoundNoSpace"/>. The group leaves
    /// write alone until then.
    /// </summary>
    void Submit(ReplicaGroup group, GroupLog log, LogWrite write);

    /// <summary>
    /// What this group has submitted has waited for long: if it is not begun, because the disk hangs under the writes
    /// of other groups, it shall not wait for them any more.
    /// </summary>
    void Expedite(ReplicaGroup group);
}
