process N4AX_N4BIASFIELDCORRECTION {
    tag "$meta.id"
    label 'process_low'

    conda "${moduleDir}/environment.yml"

    input:
    tuple val(meta), path(image), path(mask), path(weight)

    output:
    tuple val(meta), path("*_n4.nii.gz"), emit: image
    tuple val(meta), path("*_bias.nii.gz"), emit: bias
    path "versions.yml", emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def prefix = task.ext.prefix ?: "${meta.id}"
    def masked = mask ? "-x ${mask}" : ''
    def weighted = weight ? "-w ${weight}" : ''
    """
    export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=${task.cpus}
    n4ax-N4BiasFieldCorrection \\
        -i ${image} \\
        -o [${prefix}_n4.nii.gz,${prefix}_bias.nii.gz] \\
        ${masked} ${weighted} ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        ants: \$(n4ax-N4BiasFieldCorrection --version | sed -n 's/ANTs Version: v\\([0-9.]\\+\\)/\\1/p')
        n4ax: \$(n4ax --version | sed 's/.*version //')
    END_VERSIONS
    """

    stub:
    def prefix = task.ext.prefix ?: "${meta.id}"
    """
    echo | gzip > ${prefix}_n4.nii.gz
    echo | gzip > ${prefix}_bias.nii.gz

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        n4ax: \$(n4ax --version | sed 's/.*version //')
    END_VERSIONS
    """
}
