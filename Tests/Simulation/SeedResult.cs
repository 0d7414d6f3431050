namespace Broker.Tests.Simulation;

/// <summary>How a seed ended.</summary>
/// <param name="Seed">The seed.</param>
/// <param name="Kind">What its nodes were.</param>
/// <param name="Figures">What happened in it.</param>
/// <param name="Failure">What went wrong; null when nothing did.</param>
/// <param name="LastLines">Its trace before the failure, when it was not printed as it happened.</param>
internal sealed record SeedResult(
    int Seed, NodeKind Kind, Figures Figures, Exception? Failure, IReadOnlyList<string> LastLines);
