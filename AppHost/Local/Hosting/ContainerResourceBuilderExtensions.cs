namespace Aspire.Hosting;

/// <summary>
/// Adds containers. Here the program that an image is made of runs as a process: see <c>ContainerRecipe</c>.
/// </summary>
public static class ContainerResourceBuilderExtensions
{
    public static IResourceBuilder<ContainerResource> AddContainer(
        this IDistributedApplicationBuilder builder, string name, string image) =>
        AddContainer(builder, name, image, "latest");

    public static IResourceBuilder<ContainerResource> AddContainer(
        this IDistributedApplicationBuilder builder, string name, string image, string tag) =>
        builder.AddResource(new ContainerResource(name))
            .WithAnnotation(new ContainerImageAnnotation { Image = image, Tag = tag });

    /// <summary>A named volume is a folder of the data root.</summary>
    public static IResourceBuilder<T> WithVolume<T>(
        this IResourceBuilder<T> builder, string? name, string target, bool isReadOnly = false)
        where T : ContainerResource =>
        builder.WithAnnotation(new ContainerMountAnnotation(name, target, ContainerMountType.Volume, isReadOnly));

    /// <summary>The source is relative to the AppHost's folder.</summary>
    public static IResourceBuilder<T> WithBindMount<T>(
        this IResourceBuilder<T> builder, string source, string target, bool isReadOnly = false)
        where T : ContainerResource
    {
        var folder = Path.GetFullPath(source, builder.ApplicationBuilder.AppHostDirectory);
        return builder.WithAnnotation(
            new ContainerMountAnnotation(folder, target, ContainerMountType.BindMount, isReadOnly));
    }
}
